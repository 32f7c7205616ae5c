import { type Env, integerVar, stringVar } from '@landfall/common/config/env.ts';
import { readServiceConfig, type ServiceConfig } from '@landfall/common/config/service-config.ts';

export interface PromptConfig extends ServiceConfig {
  /** `host:port` of the balancer. */
  balancerUrl: string;
  /** Largest rendered prompt, in characters over all turns. */
  maxRenderedLength: number;
}

/**
 * What all services share, and LANDFALL_BALANCER_URL, LANDFALL_MAX_RENDERED_LENGTH.
 * @throws ConfigError that names the variable
 */
export function readConfig(env: Env): PromptConfig {
  return {
    ...readServiceConfig('prompt', env),
    balancerUrl: stringVar(env, 'LANDFALL_BALANCER_URL'),
    maxRenderedLength: integerVar(env, 'LANDFALL_MAX_RENDERED_LENGTH', 262_144, 1, 16_777_216),
  };
}
