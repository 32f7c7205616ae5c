/**
 * From a row of logits to a token: greedy, temperature, top-k, nucleus (top-p; Holtzman et al. 2019), with the
 * log-probabilities that the API reports.
 *
 * The order is that of transformers and vLLM: temperature, then top-k, then top-p over what top-k left.
 * Log-probabilities are those of the model itself, before temperature and filters.
 */

import { uniformAt } from './random.ts';

export interface SamplingParameters {
  /** 0 takes the most likely token; otherwise logits are divided by it. */
  temperature: number;
  /** Keep the k most likely tokens; 0 keeps all. */
  topK: number;
  /** Keep the fewest tokens whose probability reaches this; 1 keeps all. */
  topP: number;
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

/** The model gave a row without a largest finite number; nothing can be chosen from it. */
export class LogitsNotFiniteError extends Error {
  override name = 'LogitsNotFiniteError';
}

/**
 * Chooses the next token.
 * @param logits [vocabulary] of one sequence's last position; not changed.
 * @param position index of the token to be chosen in its sequence: the random number's counter.
 */
export function sample(logits: Float32Array, parameters: SamplingParameters, position: number): Sampled {
  const best = argmax(logits);
  const token =
    parameters.temperature === 0
      ? best
      : draw(logits, logits[best]!, parameters, uniformAt(parameters.seed, position));
  if (parameters.topLogprobs === undefined) return { token };
  const normaliser = logSumExp(logits, logits[best]!);
  return {
    token,
    logprob: logits[token]! - normaliser,
    top: largest(logits, parameters.topLogprobs).map((t) => ({ token: t, logprob: logits[t]! - normaliser })),
  };
}

/** Index of the largest value, the lowest index among equals. Throws {@link LogitsNotFiniteError}. */
export function argmax(values: Float32Array): number {
  let best = -1;
  let bestValue = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    if (value > bestValue) {
      bestValue = value;
      best = i;
    }
  }
  if (best < 0 || bestValue === Number.POSITIVE_INFINITY) {
    throw new LogitsNotFiniteError('the model returned logits that are not finite');
  }
  return best;
}

/** Indices of the `count` largest values, largest first, lower index first among equals. */
export function largest(values: Float32Array, count: number): number[] {
  const size = Math.min(count, values.length);
  if (size <= 0) return [];
  // A heap whose root is the worst of those kept.
  const heap: number[] = [];
  const worse = (a: number, b: number) => values[a]! < values[b]! || (values[a] === values[b] && a > b);
  const sink = (from: number) => {
    let i = from;
    for (;;) {
      const left = 2 * i + 1;
      let worst = i;
      if (left < heap.length && worse(heap[left]!, heap[worst]!)) worst = left;
      if (left + 1 < heap.length && worse(heap[left + 1]!, heap[worst]!)) worst = left + 1;
      if (worst === i) return;
      [heap[i], heap[worst]] = [heap[worst]!, heap[i]!];
      i = worst;
    }
  };
  for (let i = 0; i < values.length; i++) {
    if (heap.length < size) {
      heap.push(i);
      if (heap.length === size) for (let j = (size >> 1) - 1; j >= 0; j--) sink(j);
    } else if (worse(heap[0]!, i)) {
      heap[0] = i;
      sink(0);
    }
  }
  return heap.sort((a, b) => (worse(a, b) ? 1 : -1));
}

function logSumExp(logits: Float32Array, max: number): number {
  let sum = 0;
  for (let i = 0; i < logits.length; i++) sum += Math.exp(logits[i]! - max);
  return max + Math.log(sum);
}

/** Inverse of the cumulative distribution at `u`, over the tokens that top-k and top-p leave. */
function draw(logits: Float32Array, max: number, parameters: SamplingParameters, u: number): number {
  const { temperature, topP } = parameters;
  const vocabulary = logits.length;
  const topK = parameters.topK > 0 ? Math.min(parameters.topK, vocabulary) : vocabulary;
  const weight = (token: number) => Math.exp((logits[token]! - max) / temperature);

  if (topK < vocabulary) {
    const kept = largest(logits, topK);
    return pick(nucleus(kept, weight, topP, total(kept, weight)) ?? kept, weight, u);
  }
  let sum = 0;
  for (let i = 0; i < vocabulary; i++) sum += weight(i);
  if (topP >= 1) {
    let rest = u * sum;
    let last = 0;
    for (let i = 0; i < vocabulary; i++) {
      const w = weight(i);
      if (w === 0) continue;
      rest -= w;
      last = i;
      if (rest < 0) return i;
    }
    return last;
  }
  // The nucleus is small as a rule: look among ever more of the most likely before sorting everything.
  for (let count = Math.min(64, vocabulary); ; count = Math.min(count * 8, vocabulary)) {
    const kept = largest(logits, count);
    const inside = nucleus(kept, weight, topP, sum) ?? (count === vocabulary ? kept : undefined);
    if (inside) return pick(inside, weight, u);
  }
}

/** The shortest head of `sorted` that holds `topP` of `sum`, or undefined when all of it holds less. */
function nucleus(
  sorted: number[],
  weight: (token: number) => number,
  topP: number,
  sum: number,
): number[] | undefined {
  let mass = 0;
  for (let i = 0; i < sorted.length; i++) {
    mass += weight(sorted[i]!);
    if (mass >= topP * sum) return sorted.slice(0, i + 1);
  }
  return undefined;
}

function total(tokens: number[], weight: (token: number) => number): number {
  return tokens.reduce((sum, token) => sum + weight(token), 0);
}

function pick(tokens: number[], weight: (token: number) => number, u: number): number {
  let rest = u * total(tokens, weight);
  for (const token of tokens) {
    rest -= weight(token);
    if (rest < 0) return token;
  }
  return tokens[tokens.length - 1]!;
}
