import { booleanVar, choiceVar, type Env, integerVar } from './env.ts';

/** What is known about a process before its service is made. */
export interface LifecycleConfig {
  logLevel: string;
  /** Milliseconds that running calls get on SIGTERM. */
  graceMs: number;
  /** Whether the process ends when the one that started it does. */
  endWithParent: boolean;
}

const LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const;

/** LANDFALL_LOG_LEVEL, LANDFALL_GRACE_MS, LANDFALL_END_WITH_PARENT. Throws ConfigError that names the variable. */
export function readLifecycleConfig(env: Env): LifecycleConfig {
  return {
    logLevel: choiceVar(env, 'LANDFALL_LOG_LEVEL', 'info', LEVELS),
    graceMs: integerVar(env, 'LANDFALL_GRACE_MS', 10_000, 0, 3_600_000),
    endWithParent: booleanVar(env, 'LANDFALL_END_WITH_PARENT', false),
  };
}
