import { type Env, integerVar, stringVar } from '@landfall/common/config/env.ts';
import { readServiceConfig, type ServiceConfig } from '@landfall/common/config/service-config.ts';
import { type Prices, readPrices } from './domain/price.ts';

export interface PromptConfig extends ServiceConfig {
  /** `host:port` of the balancer. */
  balancerUrl: string;
  /** Largest rendered prompt, in characters over all turns. */
  maxRenderedLength: number;
  /** What tokens cost, for the log. */
  prices: Prices | undefined;
}

/**
 * What all services share, and LANDFALL_BALANCER_URL, LANDFALL_MAX_RENDERED_LENGTH, LANDFALL_PROMPT_PRICES.
 * @throws ConfigError that names the variable
 */
export function readConfig(env: Env): PromptConfig {
  return {
    ...readServiceConfig('prompt', env),
    balancerUrl: stringVar(env, 'LANDFALL_BALANCER_URL'),
    maxRenderedLength: integerVar(env, 'LANDFALL_MAX_RENDERED_LENGTH', 262_144, 1, 16_777_216),
    prices: readPrices('LANDFALL_PROMPT_PRICES', env.LANDFALL_PROMPT_PRICES ?? ''),
  };
}
