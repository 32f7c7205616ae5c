/** Drawing a token at random from those that the filters leave. */

import { largest } from './sampler-order.ts';

export interface DrawParameters {
  /** Above 0; logits are divided by it. */
  temperature: number;
  /** Keep the k most likely tokens; 0 keeps all. */
  topK: number;
  /** Keep the fewest tokens whose probability reaches this; 1 keeps all (nucleus; Holtzman et al. 2019). */
  topP: number;
  /** Keep tokens of at least this share of the likeliest one's probability; 0 or undefined keeps all (Nguyen et al. 2024). */
  minP?: number | undefined;
}

/** Weights of the row at hand [vocabulary]; a step draws one row after the other, so they share it. */
let scratch = new Float64Array(0);

/**
 * Inverse of the cumulative distribution at `u`, over the tokens that top-k, then top-p, then min-p leave. The order
 * is that of transformers: temperature first, each filter over what the one before left.
 * @param logits [vocabulary]; minus infinity is never drawn.
 * @param max the largest of them, finite.
 * @param u in [0, 1).
 */
export function draw(logits: Float32Array, max: number, parameters: DrawParameters, u: number): number {
  const { temperature, topP, minP = 0 } = parameters;
  const vocabulary = logits.length;
  const topK = parameters.topK > 0 ? Math.min(parameters.topK, vocabulary) : vocabulary;
  if (topK < vocabulary) {
    const kept = largest(logits, topK);
    const weights = kept.map((token) => Math.exp((logits[token]! - max) / temperature));
    const inside = nucleus(weights, topP, total(weights)) ?? kept.length;
    return kept[pick(weights, inside, minP, u)]!;
  }
  if (scratch.length < vocabulary) scratch = new Float64Array(vocabulary);
  let sum = 0;
  for (let i = 0; i < vocabulary; i++) {
    const weight = Math.exp((logits[i]! - max) / temperature);
    scratch[i] = weight;
    sum += weight;
  }
  if (topP >= 1) return pick(scratch, vocabulary, minP, u);
  // The nucleus is small as a rule: look among ever more of the most likely before sorting everything.
  for (let count = Math.min(64, vocabulary); ; count = Math.min(count * 8, vocabulary)) {
    const kept = largest(logits, count);
    const weights = kept.map((token) => scratch[token]!);
    const inside = nucleus(weights, topP, sum) ?? (count === vocabulary ? count : undefined);
    if (inside !== undefined) return kept[pick(weights, inside, minP, u)]!;
  }
}

/** How many of these falling weights hold `topP` of `sum`, or undefined when all of them hold less. */
function nucleus(weights: number[], topP: number, sum: number): number | undefined {
  let mass = 0;
  for (let i = 0; i < weights.length; i++) {
    mass += weights[i]!;
    if (mass >= topP * sum) return i + 1;
  }
  return undefined;
}

function total(weights: number[]): number {
  return weights.reduce((sum, weight) => sum + weight, 0);
}

/** Index among the first `count` weights, those below `minP` left out; the largest weight is 1. */
function pick(weights: ArrayLike<number>, count: number, minP: number, u: number): number {
  let sum = 0;
  for (let i = 0; i < count; i++) if (weights[i]! >= minP) sum += weights[i]!;
  let rest = u * sum;
  let last = 0;
  for (let i = 0; i < count; i++) {
    const weight = weights[i]!;
    if (weight === 0 || weight < minP) continue;
    rest -= weight;
    last = i;
    if (rest < 0) return i;
  }
  return last;
}
