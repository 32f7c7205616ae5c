import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { ConfigError, type Env, integerVar, stringVar } from '@landfall/common/config/env.ts';
import { readServiceConfig, type ServiceConfig } from '@landfall/common/config/service-config.ts';

/** How replicas are started and kept. */
export interface ReplicaConfig {
  /** Program and arguments of a replica. */
  command: readonly [string, ...string[]];
  /** What a replica inherits; its address, model, tenant and id are added. */
  environment: Env;
  /** Adapters that a replica holds at once. */
  adapterSlots: number;
  /** A replica that has not answered after this long is replaced, in milliseconds. */
  startTimeoutMs: number;
  /** One that has stopped answering gets this long to come back, in milliseconds. */
  unresponsiveMs: number;
  /** Between two health checks of a replica that answers, in milliseconds. */
  healthIntervalMs: number;
  /** Longest answer to a health check, in milliseconds. */
  healthTimeoutMs: number;
  /** Between two looks at the memory of a replica that has a limit, in milliseconds. */
  memoryMs: number;
  /** First pause before a replica that died is started anew; doubles up to the longest. Milliseconds. */
  firstBackoffMs: number;
  longestBackoffMs: number;
  /** One that served for this long and dies is a new story: its back-off begins anew. Milliseconds. */
  stableMs: number;
  /** Callers get this long to hear that a replica takes no more requests before it is told to stop. Milliseconds. */
  drainNoticeMs: number;
  /** From SIGTERM to SIGKILL, in milliseconds. */
  graceMs: number;
}

export interface BalancerConfig extends ServiceConfig {
  /** `host:port` of the registry. */
  registryUrl: string;
  replica: ReplicaConfig;
  /** What a stopping balancer does with its replicas: `stop` them, or `leave` them for the next one to adopt. */
  onStop: 'stop' | 'leave';
  /** How often every replica set is looked at without an event, in milliseconds. */
  resyncMs: number;
  /** Between two looks at the load of a deployment whose replicas follow it, in milliseconds. */
  scaleMs: number;
  /** Between two looks at where aliases point, beside events, in milliseconds. */
  aliasMs: number;
}

/** Variables that are the balancer's own and not its replicas'. */
const NOT_INHERITED = [
  'LANDFALL_DATABASE_URL',
  'LANDFALL_LISTEN',
  'LANDFALL_METRICS_PORT',
  'LANDFALL_END_WITH_PARENT',
  'NODE_OPTIONS',
];

const REPLICA_MAIN = join(import.meta.dirname, '../../text-inference/src/main.ts');

/**
 * The balancer's configuration: what all services share, and LANDFALL_REGISTRY_URL, LANDFALL_REPLICA_COMMAND (a JSON
 * list), LANDFALL_REPLICA_START_TIMEOUT_MS, LANDFALL_REPLICA_UNRESPONSIVE_MS, LANDFALL_REPLICA_HEALTH_INTERVAL_MS,
 * LANDFALL_REPLICA_MEMORY_MS, LANDFALL_REPLICA_STABLE_MS, LANDFALL_BALANCER_ON_STOP (`stop` or `leave`), LANDFALL_BALANCER_RESYNC_MS,
 * LANDFALL_BALANCER_SCALE_MS, LANDFALL_BALANCER_ALIAS_MS. Replicas inherit the environment; LANDFALL_TEXT_THREADS is
 * half of the cores for them where it is not set, and LANDFALL_TEXT_ADAPTERS tells how many adapters one holds.
 * @throws ConfigError that names the variable.
 */
export function readConfig(env: Env): BalancerConfig {
  const service = readServiceConfig('balancer', env);
  const threads = Math.max(1, Math.floor(availableParallelism() / 2));
  const inherited = Object.entries(env).filter(([name]) => !NOT_INHERITED.includes(name));
  return {
    ...service,
    registryUrl: stringVar(env, 'LANDFALL_REGISTRY_URL'),
    replica: {
      command: commandVar(env),
      environment: { LANDFALL_TEXT_THREADS: String(threads), ...Object.fromEntries(inherited) },
      adapterSlots: integerVar(env, 'LANDFALL_TEXT_ADAPTERS', 16, 0, 4096),
      startTimeoutMs: integerVar(env, 'LANDFALL_REPLICA_START_TIMEOUT_MS', 600_000, 1000, 86_400_000),
      unresponsiveMs: integerVar(env, 'LANDFALL_REPLICA_UNRESPONSIVE_MS', 15_000, 500, 3_600_000),
      healthIntervalMs: integerVar(env, 'LANDFALL_REPLICA_HEALTH_INTERVAL_MS', 500, 50, 60_000),
      healthTimeoutMs: 1500,
      memoryMs: integerVar(env, 'LANDFALL_REPLICA_MEMORY_MS', 1000, 50, 60_000),
      firstBackoffMs: 250,
      longestBackoffMs: 30_000,
      stableMs: integerVar(env, 'LANDFALL_REPLICA_STABLE_MS', 60_000, 0, 3_600_000),
      drainNoticeMs: 500,
      graceMs: service.graceMs,
    },
    onStop: onStopVar(env),
    resyncMs: integerVar(env, 'LANDFALL_BALANCER_RESYNC_MS', 10_000, 100, 3_600_000),
    scaleMs: integerVar(env, 'LANDFALL_BALANCER_SCALE_MS', 2000, 50, 3_600_000),
    aliasMs: integerVar(env, 'LANDFALL_BALANCER_ALIAS_MS', 30_000, 100, 3_600_000),
  };
}

function commandVar(env: Env): readonly [string, ...string[]] {
  const raw = env.LANDFALL_REPLICA_COMMAND;
  if (!raw) return [process.execPath, REPLICA_MAIN];
  let parts: unknown;
  try {
    parts = JSON.parse(raw);
  } catch {
    parts = undefined;
  }
  const texts = Array.isArray(parts) && parts.length > 0 && parts.every((part) => typeof part === 'string');
  if (!texts) throw new ConfigError('LANDFALL_REPLICA_COMMAND', 'is no JSON list of program and arguments');
  return parts as [string, ...string[]];
}

function onStopVar(env: Env): 'stop' | 'leave' {
  const value = stringVar(env, 'LANDFALL_BALANCER_ON_STOP', 'stop');
  if (value !== 'stop' && value !== 'leave') {
    throw new ConfigError('LANDFALL_BALANCER_ON_STOP', `is ${value}; give stop or leave`);
  }
  return value;
}
