/**
 * From a row of logits to a token: greedy or drawn, with the log-probabilities that the API reports. What a
 * sequence's own tokens and grammar change in the row comes before (sequence-sampler).
 */

import { uniformAt } from './random.ts';
import { type DrawParameters, draw } from './sampler-draw.ts';
import { argmax, largest, logSumExp } from './sampler-order.ts';
import type { PenaltyParameters } from './sampler-penalties.ts';

/** Temperature 0 takes the most likely token. */
export interface SamplingParameters extends DrawParameters, PenaltyParameters {
  /** 64 bits; the same seed gives the same tokens whatever shares the batch. */
  seed: bigint;
  /** Report the chosen token's log-probability and this many of the most likely; undefined reports none. */
  topLogprobs?: number | undefined;
}

export interface TokenLogprob {
  token: number;
  /** Natural logarithm. */
  logprob: number;
}

export interface Sampled {
  token: number;
  logprob?: number;
  /** The most likely tokens, most likely first. */
  top?: TokenLogprob[];
}

/**
 * Chooses the next token.
 * @param logits [vocabulary] of one sequence's last position, penalties and masks applied; not changed.
 * @param position index of the token to be chosen in its sequence: the random number's counter.
 * @param model the same row as the model gave it, from which log-probabilities are reported: before temperature,
 * penalties, masks and filters.
 * @throws LogitsNotFiniteError
 */
export function sample(
  logits: Float32Array,
  parameters: SamplingParameters,
  position: number,
  model: Float32Array = logits,
): Sampled {
  const best = argmax(logits);
  const token =
    parameters.temperature === 0
      ? best
      : draw(logits, logits[best]!, parameters, uniformAt(parameters.seed, position));
  return withLogprobs(token, parameters.topLogprobs, model);
}

/** The token with its log-probability and those of the `count` most likely; undefined reports none. */
export function withLogprobs(token: number, count: number | undefined, model: Float32Array): Sampled {
  if (count === undefined) return { token };
  const normaliser = logSumExp(model, model[argmax(model)]!);
  return {
    token,
    logprob: model[token]! - normaliser,
    top: largest(model, count).map((t) => ({ token: t, logprob: model[t]! - normaliser })),
  };
}
