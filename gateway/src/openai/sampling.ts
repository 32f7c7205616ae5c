import type { MessageInitShape } from '@bufbuild/protobuf';
import type { SamplingOptionsSchema } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import { type Json, optionalBoolean, optionalInteger, optionalNumber, optionalRecord } from './body.ts';
import { BadRequest } from './errors.ts';

/** Token ids of any vocabulary that there is. */
const TOKEN_ID = /^(0|[1-9][0-9]{0,7})$/;
export const MOST_TOKENS = 131_072;
const MOST_ANSWERS = 16;
const MOST_BIASES = 1024;

/**
 * What chat and text completions share: OpenAI's parameters with OpenAI's defaults (temperature 1, top_p 1), and the
 * extensions under the names that vLLM gave them.
 * @throws BadRequest that names the parameter.
 */
export function samplingOptions(body: Json): MessageInitShape<typeof SamplingOptionsSchema> {
  const seed = optionalInteger(body, 'seed', Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER);
  const topK = optionalInteger(body, 'top_k', -1, 1_000_000);
  return {
    temperature: optionalNumber(body, 'temperature', 0, 2) ?? 1,
    topP: optionalNumber(body, 'top_p', Number.MIN_VALUE, 1),
    // -1 is vLLM's way to say all.
    topK: topK === -1 ? 0 : topK,
    minP: optionalNumber(body, 'min_p', 0, 1),
    seed: seed === undefined ? undefined : BigInt.asUintN(64, BigInt(seed)),
    stop: stopStrings(body),
    ignoreEos: optionalBoolean(body, 'ignore_eos'),
    repetitionPenalty: optionalNumber(body, 'repetition_penalty', Number.MIN_VALUE, 10),
    frequencyPenalty: optionalNumber(body, 'frequency_penalty', -2, 2),
    presencePenalty: optionalNumber(body, 'presence_penalty', -2, 2),
    logitBias: logitBias(body),
    n: optionalInteger(body, 'n', 1, MOST_ANSWERS),
    promptLookup: optionalInteger(body, 'prompt_lookup', 0, 16),
  };
}

/** vLLM's `priority`, where a lower number goes first; the mesh counts the other way. */
export function priority(body: Json): number {
  const value = optionalInteger(body, 'priority', -10, 10);
  return value ? -value : 0;
}

function stopStrings({ stop }: Json): string[] {
  if (stop === undefined || stop === null) return [];
  const list = Array.isArray(stop) ? stop : [stop];
  if (list.length > 16 || list.some((s) => typeof s !== 'string' || s.length === 0 || s.length > 256)) {
    throw new BadRequest('stop', 'must be up to 16 strings of 1 to 256 characters');
  }
  return list as string[];
}

function logitBias(body: Json): Record<number, number> {
  const entries = Object.entries(optionalRecord(body, 'logit_bias') ?? {});
  if (entries.length > MOST_BIASES) throw new BadRequest('logit_bias', `has more than ${MOST_BIASES} tokens`);
  const biases: Record<number, number> = {};
  for (const [token, bias] of entries) {
    if (!TOKEN_ID.test(token)) throw new BadRequest('logit_bias', 'must name tokens by their ids');
    if (typeof bias !== 'number' || !(bias >= -100 && bias <= 100)) {
      throw new BadRequest('logit_bias', 'must have numbers from -100 to 100');
    }
    biases[Number(token)] = bias;
  }
  return biases;
}
