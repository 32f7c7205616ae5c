import { addressVar, type Env, integerVar, stringVar } from '@landfall/common/config/env.ts';
import { readServiceConfig, type ServiceConfig } from '@landfall/common/config/service-config.ts';
import type { EdgeLimits } from './edge/one-port.ts';
import type { Rate } from './edge/rate-limiter.ts';

/** Addresses of the services behind the gateway. */
export type Upstreams = Record<'registry' | 'trainer' | 'balancer' | 'prompt', string> & { vision: string };

export interface GatewayConfig extends ServiceConfig {
  upstreams: Upstreams;
  /** Where the first key's secret is left; empty prints it on standard output. */
  firstKeyFile: string;
  /** Limits of a tenant that has set none. */
  rate: Rate;
  /** Largest request message, in bytes, decompressed. */
  maxMessageBytes: number;
  edge: EdgeLimits;
}

/**
 * What all services share, and LANDFALL_REGISTRY_URL, LANDFALL_TRAINER_URL, LANDFALL_BALANCER_URL,
 * LANDFALL_PROMPT_URL, LANDFALL_VISION_URL, LANDFALL_FIRST_KEY_FILE, LANDFALL_REQUESTS_PER_MINUTE,
 * LANDFALL_CONCURRENT_REQUESTS, LANDFALL_MAX_MESSAGE_BYTES, LANDFALL_MAX_CONNECTIONS.
 * @throws ConfigError that names the variable
 */
export function readConfig(env: Env): GatewayConfig {
  return {
    ...readServiceConfig('gateway', env),
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
    maxMessageBytes: integerVar(env, 'LANDFALL_MAX_MESSAGE_BYTES', 4 * 1024 * 1024, 1024, 64 * 1024 * 1024),
    edge: {
      headersTimeoutMs: 10_000,
      requestTimeoutMs: integerVar(env, 'LANDFALL_REQUEST_TIMEOUT_MS', 300_000, 1000, 86_400_000),
      maxConnections: integerVar(env, 'LANDFALL_MAX_CONNECTIONS', 4096, 1, 65_536),
      maxStreams: 256,
    },
  };
}
