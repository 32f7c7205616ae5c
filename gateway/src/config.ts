import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { addressVar, choiceVar, type Env, integerVar, stringVar } from '@landfall/common/config/env.ts';
import { readServiceConfig, type ServiceConfig } from '@landfall/common/config/service-config.ts';
import { DURABILITIES, type Durability } from './audit/audit-log.ts';
import { readOrigins } from './edge/cross-origin.ts';
import { type EdgeTls, readEdgeTls } from './edge/edge-tls.ts';
import type { EdgeLimits } from './edge/one-port.ts';
import type { Rate } from './edge/rate-limiter.ts';
import { type OidcProvider, readOidcProviders } from './identity/oidc-config.ts';

/** Addresses of the services behind the gateway. */
export type Upstreams = Record<'registry' | 'trainer' | 'balancer' | 'prompt', string> & { vision: string };

const MIB = 1024 * 1024;

/** What connections get, whoever they are of. A body of less than 240 bytes a second is Kestrel's bound, too. */
const EDGE = {
  headersTimeoutMs: 10_000,
  // Longer than the minute that load balancers keep theirs, so that it is not the gateway that closes one in use.
  idleTimeoutMs: 75_000,
  maxHeaderBytes: 16 * 1024,
  maxStreams: 256,
  minBytesPerSecond: 240,
  bodyWindowMs: 10_000,
  streamWindowMs: 30_000,
  unreadTimeoutMs: 30_000,
  unreadBytesPerSecond: 64 * 1024,
} as const;

export interface AuditConfig {
  /** Private key of the checkpoints (Ed25519, PKCS 8 in PEM); made where there is no such file. */
  keyFile: string;
  /** A file on another disk or machine that gets the checkpoints too; empty for none. */
  checkpointFile: string;
  /** Days that lines are kept; 0 for ever. */
  keepDays: number;
  /** What the line of a call that reads or asks must have outlived before its answer leaves. */
  durability: Durability;
}

export interface ImageReadingConfig {
  /** Images that are read at once, each by a process of its own. */
  processes: number;
  /** Threads of one reading. */
  threads: number;
  /** Most milliseconds that one image is read for. */
  timeoutMs: number;
  /** Most images that wait. */
  mostWaiting: number;
}

export interface GatewayConfig extends ServiceConfig {
  upstreams: Upstreams;
  /** Where the first key's secret is left; empty prints it on standard output. */
  firstKeyFile: string;
  /** Limits of a tenant that has set none. */
  rate: Rate;
  /** Largest request message, in bytes, decompressed. */
  maxMessageBytes: number;
  /** `host:port` of private servers whose images a chat may name. */
  imageHosts: readonly string[];
  /** How images are read for content policies. */
  imageReading: ImageReadingConfig;
  edge: EdgeLimits;
  /** TLS of the door; without it, it speaks plainly. */
  edgeTls: EdgeTls | undefined;
  /** Origins whose pages may read answers. */
  corsOrigins: readonly string[];
  /** OpenID providers whose tokens are taken. */
  oidc: readonly OidcProvider[];
  audit: AuditConfig;
  /** 32 random bytes in base64 that pseudonyms come from; made where it is missing. Gateways of a mesh share it. */
  pseudonymKeyFile: string;
  /** Broker of events; empty for none. */
  eventsUrl: string;
  /** `host:port` of private servers that webhooks may lead to. */
  webhookHosts: readonly string[];
  /** Most bytes of kept answers in this process's memory. */
  cacheMemoryBytes: number;
}

/**
 * What all services share, and LANDFALL_REGISTRY_URL, LANDFALL_TRAINER_URL, LANDFALL_BALANCER_URL,
 * LANDFALL_PROMPT_URL, LANDFALL_VISION_URL, LANDFALL_FIRST_KEY_FILE, LANDFALL_REQUESTS_PER_MINUTE,
 * LANDFALL_CONCURRENT_REQUESTS, LANDFALL_MAX_MESSAGE_BYTES, LANDFALL_IMAGE_HOSTS, LANDFALL_MAX_CONNECTIONS,
 * LANDFALL_MAX_CONNECTIONS_PER_PEER, LANDFALL_GATEWAY_TLS_CERT, LANDFALL_GATEWAY_TLS_KEY, LANDFALL_GATEWAY_TLS_CLIENT_CA, LANDFALL_CORS_ORIGINS,
 * LANDFALL_OIDC_FILE, LANDFALL_PSEUDONYM_KEY_FILE, LANDFALL_AUDIT_KEY_FILE, LANDFALL_AUDIT_CHECKPOINT_FILE,
 * LANDFALL_AUDIT_KEEP_DAYS, LANDFALL_WEBHOOK_HOSTS, LANDFALL_CACHE_MEMORY_BYTES, LANDFALL_IMAGE_READERS,
 * LANDFALL_IMAGE_READER_TIMEOUT_MS, LANDFALL_IMAGE_READER_QUEUE.
 * @throws ConfigError that names the variable
 */
export function readConfig(env: Env): GatewayConfig {
  const service = readServiceConfig('gateway', env);
  return {
    ...service,
    listen: addressVar(env, 'LANDFALL_LISTEN', `127.0.0.1:${env.LANDFALL_GATEWAY_PORT || '8080'}`),
    upstreams: {
      registry: stringVar(env, 'LANDFALL_REGISTRY_URL'),
      trainer: stringVar(env, 'LANDFALL_TRAINER_URL'),
      balancer: stringVar(env, 'LANDFALL_BALANCER_URL'),
      prompt: stringVar(env, 'LANDFALL_PROMPT_URL'),
      vision: env.LANDFALL_VISION_URL ?? '',
    },
    firstKeyFile: env.LANDFALL_FIRST_KEY_FILE ?? '',
    rate: {
      requestsPerMinute: integerVar(env, 'LANDFALL_REQUESTS_PER_MINUTE', 60_000, 1, 100_000_000),
      concurrentRequests: integerVar(env, 'LANDFALL_CONCURRENT_REQUESTS', 1000, 1, 1_000_000),
    },
    maxMessageBytes: integerVar(env, 'LANDFALL_MAX_MESSAGE_BYTES', 24 * MIB, 1024, 64 * MIB),
    imageHosts: (env.LANDFALL_IMAGE_HOSTS ?? '').split(',').filter((host) => host !== ''),
    imageReading: {
      processes: integerVar(env, 'LANDFALL_IMAGE_READERS', 1, 1, 64),
      threads: Math.max(1, Math.min(4, Math.floor(availableParallelism() / 2))),
      timeoutMs: integerVar(env, 'LANDFALL_IMAGE_READER_TIMEOUT_MS', 30_000, 1, 600_000),
      mostWaiting: integerVar(env, 'LANDFALL_IMAGE_READER_QUEUE', 64, 1, 10_000),
    },
    eventsUrl: env.LANDFALL_NATS_URL ?? '',
    webhookHosts: (env.LANDFALL_WEBHOOK_HOSTS ?? '').split(',').filter((host) => host !== ''),
    cacheMemoryBytes: integerVar(env, 'LANDFALL_CACHE_MEMORY_BYTES', 64 * MIB, MIB, 16_384 * MIB),
    edgeTls: readEdgeTls(env),
    corsOrigins: readOrigins(env),
    oidc: readOidcProviders(env),
    pseudonymKeyFile: env.LANDFALL_PSEUDONYM_KEY_FILE || join(service.home, 'pseudonym.key'),
    edge: {
      ...EDGE,
      requestTimeoutMs: integerVar(env, 'LANDFALL_REQUEST_TIMEOUT_MS', 300_000, 1000, 86_400_000),
      maxConnections: integerVar(env, 'LANDFALL_MAX_CONNECTIONS', 4096, 1, 65_536),
      maxConnectionsPerPeer: integerVar(env, 'LANDFALL_MAX_CONNECTIONS_PER_PEER', 1024, 1, 65_536),
    },
    audit: {
      keyFile: env.LANDFALL_AUDIT_KEY_FILE || join(service.home, 'audit', 'signing.pem'),
      checkpointFile: env.LANDFALL_AUDIT_CHECKPOINT_FILE ?? '',
      keepDays: integerVar(env, 'LANDFALL_AUDIT_KEEP_DAYS', 0, 0, 36_500),
      durability: choiceVar(env, 'LANDFALL_AUDIT_DURABILITY', 'system', DURABILITIES),
    },
  };
}
