import { type Env, integerVar, stringVar } from '@landfall/common/config/env.ts';
import { readServiceConfig, type ServiceConfig } from '@landfall/common/config/service-config.ts';
import { type Prices, readPrices } from './domain/price.ts';

export interface PromptConfig extends ServiceConfig {
  /** `host:port` of the balancer. */
  balancerUrl: string;
  /** `host:port` of the registry, whose data sets become test sets; empty where there is none. */
  registryUrl: string;
  /** Largest rendered prompt, in characters over all turns. */
  maxRenderedLength: number;
  /** How often live scores are looked at for drift. */
  driftCheckSeconds: number;
  /** What tokens cost, for the log. */
  prices: Prices | undefined;
}

/**
 * What all services share, and LANDFALL_BALANCER_URL, LANDFALL_REGISTRY_URL, LANDFALL_MAX_RENDERED_LENGTH, LANDFALL_PROMPT_PRICES.
 * @throws ConfigError that names the variable
 */
export function readConfig(env: Env): PromptConfig {
  return {
    ...readServiceConfig('prompt', env),
    balancerUrl: stringVar(env, 'LANDFALL_BALANCER_URL'),
    registryUrl: stringVar(env, 'LANDFALL_REGISTRY_URL', ''),
    maxRenderedLength: integerVar(env, 'LANDFALL_MAX_RENDERED_LENGTH', 262_144, 1, 16_777_216),
    driftCheckSeconds: integerVar(env, 'LANDFALL_DRIFT_CHECK_SECONDS', 60, 1, 86_400),
    prices: readPrices('LANDFALL_PROMPT_PRICES', env.LANDFALL_PROMPT_PRICES ?? ''),
  };
}
