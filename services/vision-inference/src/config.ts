import { availableParallelism } from 'node:os';
import { join, resolve } from 'node:path';
import { type ArtifactLocation, artifactLocationVar } from '@landfall/common/artifacts/location.ts';
import { choiceVar, type Env, integerVar, stringVar } from '@landfall/common/config/env.ts';
import { readServiceConfig, type ServiceConfig } from '@landfall/common/config/service-config.ts';
import { TOWER_PRECISIONS, type TowerPrecision } from '@landfall/graph/vision/packed-towers.ts';

export interface VisionConfig extends ServiceConfig {
  /** `host:port` of the balancer. */
  balancerUrl: string;
  /** `host:port` of the registry, for batches and exported corrections; empty where there is none. */
  registryUrl: string;
  /** `host:port` of the trainer, for tuning plans; empty where there is none. */
  trainerUrl: string;
  /** Where images are kept. */
  images: ArtifactLocation;
  /** Images decoded at once; more wait. */
  decodeAtOnce: number;
  /** Inspections that may wait; more are RESOURCE_EXHAUSTED. */
  maxWaiting: number;
  /** Fetched models, by digest; services of one machine may share it. */
  cacheFolder: string;
  /** What the cache may hold of versions, in bytes. */
  cacheBytes: number;
  /** Threads of the numeric runtime, for each embedding model. */
  threads: number;
  /** How the weights of embedding models are kept. */
  embeddingPrecision: TowerPrecision;
  /** Embedding models loaded at once. */
  embeddingModels: number;
  /** Where indexes of collections are saved; made anew from the database where they are lost. */
  indexFolder: string;
  /** Of indexes in memory, in bytes. */
  indexBytes: number;
}

const MIB = 1024 ** 2;
const GIB = 1024 ** 3;

/**
 * What all services share, and LANDFALL_BALANCER_URL, LANDFALL_REGISTRY_URL, LANDFALL_TRAINER_URL, LANDFALL_IMAGES_URL,
 * LANDFALL_DECODE_AT_ONCE, LANDFALL_MAX_WAITING_INSPECTIONS, LANDFALL_VISION_CACHE, LANDFALL_VISION_CACHE_GIB,
 * LANDFALL_VISION_THREADS, LANDFALL_EMBEDDING_PRECISION, LANDFALL_EMBEDDING_MODELS, LANDFALL_INDEX_MEMORY_MIB.
 * @throws ConfigError that names the variable
 */
export function readConfig(env: Env): VisionConfig {
  const service = readServiceConfig('vision-inference', env);
  return {
    ...service,
    balancerUrl: stringVar(env, 'LANDFALL_BALANCER_URL'),
    registryUrl: stringVar(env, 'LANDFALL_REGISTRY_URL', ''),
    trainerUrl: stringVar(env, 'LANDFALL_TRAINER_URL', ''),
    images: artifactLocationVar(env, 'LANDFALL_IMAGES_URL', join(service.home, 'images')),
    decodeAtOnce: integerVar(env, 'LANDFALL_DECODE_AT_ONCE', 2, 1, 64),
    maxWaiting: integerVar(env, 'LANDFALL_MAX_WAITING_INSPECTIONS', 64, 1, 10_000),
    cacheFolder: resolve(stringVar(env, 'LANDFALL_VISION_CACHE', join(service.home, 'vision-cache'))),
    cacheBytes: integerVar(env, 'LANDFALL_VISION_CACHE_GIB', 64, 1, 65_536) * GIB,
    threads: integerVar(env, 'LANDFALL_VISION_THREADS', availableParallelism(), 1, 1024),
    embeddingPrecision: choiceVar(env, 'LANDFALL_EMBEDDING_PRECISION', 'float32', TOWER_PRECISIONS),
    embeddingModels: integerVar(env, 'LANDFALL_EMBEDDING_MODELS', 4, 1, 64),
    indexFolder: join(service.home, 'indexes'),
    indexBytes: integerVar(env, 'LANDFALL_INDEX_MEMORY_MIB', 4096, 1, 16_777_216) * MIB,
  };
}
