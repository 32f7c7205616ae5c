import { availableParallelism } from 'node:os';
import { join, resolve } from 'node:path';
import { ConfigError, choiceVar, type Env, integerVar, stringVar } from '@landfall/common/config/env.ts';
import { readServiceConfig, type ServiceConfig } from '@landfall/common/config/service-config.ts';
import { SERVING_PRECISIONS, type ServingPrecision } from '@landfall/graph/serving/packed-weights.ts';
import { TOWER_PRECISIONS, type TowerPrecision } from '@landfall/graph/vision/packed-towers.ts';
import { type BackendConfig, readBackendConfig } from './backends/backend-config.ts';
import { InvalidRefError, type ModelRef, parseModelRef } from './model/ref.ts';

/** What a replica needs to know beside what every service does. */
export interface TextConfig extends ServiceConfig {
  /** The base it serves. */
  model: ModelRef;
  /** Who answers: our own engine, or something else behind the same contract. */
  backend: BackendConfig;
  /** A local Hugging Face folder to serve as `model`; undefined fetches it from the registry. */
  modelFolder: string | undefined;
  /** Whose models these are; callers of other tenants see nothing. */
  tenant: string;
  /** `host:port` of the registry; empty means a replica without one (a local folder and no adapters). */
  registryUrl: string;
  /** Fetched files, by digest; replicas of one machine may share it. */
  cacheFolder: string;
  /** What the cache may hold of versions, in bytes. */
  cacheBytes: number;
  /** Threads of the numeric runtime. */
  threads: number;
  /** Requests that run at once. */
  maxBatch: number;
  /** Requests that wait; more are refused. */
  maxQueue: number;
  /** Prompt tokens that wait; a request that brings more is refused. */
  maxQueueTokens: number;
  /** Prompt tokens of one step while no request waits for a next token. */
  maxPrefillTokens: number;
  /** Prompt tokens of one step beside requests that do. */
  maxChunkTokens: number;
  /** How the weights of linear layers are kept. */
  precision: ServingPrecision;
  /** Inputs that share a scale with int4. */
  int4Block: number;
  /** How the weights of an image tower's layers are kept. */
  towerPrecision: TowerPrecision;
  /** Blocks of the key/value pool; undefined takes a default. */
  blocks: number | undefined;
  /** What is kept of images that were seen, in bytes. */
  imageCacheBytes: number;
  /** Tokens a block holds. */
  blockSize: number;
  /** Adapters that are held at once. */
  adapterSlots: number;
  /** Module with the model's `createRunner`, as a URL. */
  runnerModule: string;
}

/**
 * Reads LANDFALL_MODEL, LANDFALL_MODEL_FOLDER, LANDFALL_TENANT, LANDFALL_REGISTRY_URL and LANDFALL_TEXT_* beside
 * the common variables.
 * @throws ConfigError that names the variable.
 */
export function readTextConfig(env: Env): TextConfig {
  const service = readServiceConfig('text-inference', env);
  const modelFolder = env.LANDFALL_MODEL_FOLDER ? resolve(env.LANDFALL_MODEL_FOLDER) : undefined;
  const backend = readBackendConfig(env);
  if (backend.kind === 'transformersjs' && !modelFolder)
    throw new ConfigError('LANDFALL_MODEL_FOLDER', 'is not set; transformers.js serves local folders alone');
  const alone = modelFolder !== undefined || backend.kind === 'openai';
  const registryUrl = stringVar(env, 'LANDFALL_REGISTRY_URL', alone ? ' ' : undefined).trim();
  const blocks = integerVar(env, 'LANDFALL_TEXT_BLOCKS', 0, 0, 10_000_000);
  const precision = choiceVar(env, 'LANDFALL_TEXT_QUANTIZATION', 'float32', SERVING_PRECISIONS);
  return {
    ...service,
    model: modelVar(env, modelFolder),
    backend,
    modelFolder,
    tenant: stringVar(env, 'LANDFALL_TENANT', 'default'),
    registryUrl,
    cacheFolder: resolve(stringVar(env, 'LANDFALL_TEXT_CACHE', join(service.home, 'cache'))),
    cacheBytes: integerVar(env, 'LANDFALL_TEXT_CACHE_GIB', 256, 1, 65_536) * 1024 ** 3,
    threads: integerVar(env, 'LANDFALL_TEXT_THREADS', availableParallelism(), 1, 1024),
    maxBatch: integerVar(env, 'LANDFALL_TEXT_MAX_BATCH', 16, 1, 4096),
    maxQueue: integerVar(env, 'LANDFALL_TEXT_MAX_QUEUE', 64, 0, 100_000),
    maxQueueTokens: integerVar(env, 'LANDFALL_TEXT_MAX_QUEUE_TOKENS', 131_072, 1, 1_000_000_000),
    maxPrefillTokens: integerVar(env, 'LANDFALL_TEXT_MAX_PREFILL_TOKENS', 512, 16, 1_000_000),
    maxChunkTokens: integerVar(env, 'LANDFALL_TEXT_MAX_CHUNK_TOKENS', 128, 16, 1_000_000),
    precision,
    int4Block: Number(choiceVar(env, 'LANDFALL_TEXT_INT4_BLOCK', '128', ['16', '32', '64', '128', '256'])),
    // Of 4 bits a tower is slower than of 8, and small beside its decoder: who wants the memory says so.
    towerPrecision: choiceVar(
      env,
      'LANDFALL_TEXT_TOWER_QUANTIZATION',
      precision === 'float32' ? 'float32' : 'int8',
      TOWER_PRECISIONS,
    ),
    blocks: blocks === 0 ? undefined : blocks,
    imageCacheBytes: integerVar(env, 'LANDFALL_TEXT_IMAGE_CACHE_MIB', 256, 0, 1_048_576) * 1024 ** 2,
    blockSize: 16,
    adapterSlots: integerVar(env, 'LANDFALL_TEXT_ADAPTERS', 16, 0, 4096),
    runnerModule: new URL('./engine/onnx-runner.ts', import.meta.url).href,
  };
}

function modelVar(env: Env, folder: string | undefined): ModelRef {
  const raw = stringVar(env, 'LANDFALL_MODEL', folder ? 'models:/local/0.0.0' : undefined);
  try {
    return parseModelRef(raw);
  } catch (error) {
    if (error instanceof InvalidRefError)
      throw new ConfigError('LANDFALL_MODEL', `is ${raw}: ${error.message}`);
    throw error;
  }
}
