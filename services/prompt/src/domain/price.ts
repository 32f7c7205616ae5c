import { create } from '@bufbuild/protobuf';
import { ConfigError } from '@landfall/common/config/env.ts';
import { type Cost, CostSchema } from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';
import type { Usage } from '@landfall/proto/landfall/text/v1/generation_pb.js';

/** What a million tokens cost. */
interface Price {
  input: number;
  /** Of input tokens whose keys and values were cached; like the others where it isn't given. */
  cachedInput: number;
  output: number;
}

/** Prices by model. */
export interface Prices {
  /** ISO 4217. */
  currency: string;
  /** By `models:/name/version`, `models:/name` for all of its versions, or `*` for any other. */
  models: ReadonlyMap<string, Price>;
}

/**
 * Reads `{"currency": "CNY", "models": {"models:/qa": {"input": 1, "output": 4}}}`, per million tokens; '' has no prices.
 * @throws ConfigError that names the variable and what is wrong in it
 */
export function readPrices(variable: string, text: string): Prices | undefined {
  if (text === '') return undefined;
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw new ConfigError(variable, 'is not JSON');
  }
  const { currency, models } = objectOf(json);
  if (typeof currency !== 'string' || !/^[A-Z]{3}$/.test(currency)) {
    throw new ConfigError(variable, 'needs "currency", an ISO 4217 code such as "CNY"');
  }
  const prices = new Map<string, Price>();
  for (const [model, value] of Object.entries(objectOf(models))) {
    const { input, output, cachedInput = input } = objectOf(value);
    for (const [name, price] of Object.entries({ input, output, cachedInput })) {
      if (typeof price !== 'number' || !Number.isFinite(price) || price < 0) {
        throw new ConfigError(
          variable,
          `has no price of "${name}" (per million tokens, 0 or more) for ${model}`,
        );
      }
    }
    prices.set(model, {
      input: input as number,
      output: output as number,
      cachedInput: cachedInput as number,
    });
  }
  return { currency, models: prices };
}

const objectOf = (value: unknown): Record<string, unknown> =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};

/** What an answer costs; undefined where its model has no price. */
export function costOf(
  prices: Prices | undefined,
  model: string,
  usage: Usage | undefined,
): Cost | undefined {
  if (!prices || !usage) return undefined;
  const name = model.split('/').slice(0, 2).join('/');
  const price = prices.models.get(model) ?? prices.models.get(name) ?? prices.models.get('*');
  if (!price) return undefined;
  const { inputTokens, cachedTokens, outputTokens } = usage;
  const perMillion =
    (inputTokens - cachedTokens) * price.input +
    cachedTokens * price.cachedInput +
    outputTokens * price.output;
  return create(CostSchema, { amount: perMillion / 1e6, currency: prices.currency });
}
