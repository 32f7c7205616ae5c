import { describe, expect, test } from 'vitest';
import { type SamplingParameters, sample } from './sampler.ts';
import { argmax, LogitsNotFiniteError, largest } from './sampler-order.ts';

const base: SamplingParameters = { temperature: 1, topK: 0, topP: 1, seed: 1n };

/** Relative frequency of each token over many positions. */
function frequencies(logits: Float32Array, parameters: SamplingParameters, draws = 20_000): number[] {
  const counts = new Array<number>(logits.length).fill(0);
  for (let i = 0; i < draws; i++) counts[sample(logits, parameters, i).token]!++;
  return counts.map((c) => c / draws);
}

function softmax(logits: Float32Array, temperature = 1): number[] {
  const max = Math.max(...logits);
  const w = Array.from(logits, (l) => Math.exp((l - max) / temperature));
  const sum = w.reduce((a, b) => a + b);
  return w.map((x) => x / sum);
}

describe('sample', () => {
  const logits = Float32Array.from([0.5, 2, -1, 1.5, 2, -3]);

  test('temperature 0 takes the largest, the lowest index among equals', () => {
    expect(sample(logits, { ...base, temperature: 0 }, 0).token).toBe(1);
  });

  test('draws follow the softmax of the logits over the temperature', () => {
    for (const temperature of [0.5, 1, 2]) {
      const expected = softmax(logits, temperature);
      frequencies(logits, { ...base, temperature }).forEach((f, i) => {
        expect(Math.abs(f - expected[i]!)).toBeLessThan(0.015);
      });
    }
  });

  test('top_k keeps the k most likely and renormalises', () => {
    const f = frequencies(logits, { ...base, topK: 3 });
    const expected = softmax(Float32Array.from([2, 1.5, 2]));
    expect(f[0]! + f[2]! + f[5]!).toBe(0);
    expect(Math.abs(f[3]! - expected[1]!)).toBeLessThan(0.015);
    expect(frequencies(logits, { ...base, topK: 1 })[1]).toBe(1);
  });

  test('top_p keeps the fewest tokens that reach it', () => {
    const p = softmax(logits);
    const f = frequencies(logits, { ...base, topP: p[1]! + p[4]! + 0.01 });
    expect(f[0]! + f[2]! + f[5]!).toBe(0);
    expect(f[3]!).toBeGreaterThan(0);
    expect(frequencies(logits, { ...base, topP: 1e-9 })[1]).toBe(1);
  });

  test('top_p over a large, flat vocabulary takes the exact share of it', () => {
    const flat = new Float32Array(1000);
    const seen = new Set<number>();
    for (let i = 0; i < 3000; i++) seen.add(sample(flat, { ...base, topP: 0.2 }, i).token);
    expect(Math.max(...seen)).toBeLessThanOrEqual(200);
    expect(seen.size).toBeGreaterThan(195);
  });

  test('the same seed and position give the same token, another seed another series', () => {
    const flat = new Float32Array(1000);
    const series = (seed: bigint) =>
      Array.from({ length: 50 }, (_, i) => sample(flat, { ...base, seed }, i).token);
    expect(series(5n)).toEqual(series(5n));
    expect(series(5n)).not.toEqual(series(6n));
  });

  test('log-probabilities are those of the model, before temperature and filters', () => {
    const expected = softmax(logits).map(Math.log);
    const got = sample(logits, { ...base, temperature: 0, topLogprobs: 3 }, 0);
    expect(got.logprob).toBeCloseTo(expected[1]!, 6);
    expect(got.top?.map((t) => t.token)).toEqual([1, 4, 3]);
    got.top?.forEach((t) => {
      expect(t.logprob).toBeCloseTo(expected[t.token]!, 6);
    });
    expect(sample(logits, { ...base, topLogprobs: 0 }, 0).top).toEqual([]);
  });

  test('rows without a finite maximum are an error, not a token', () => {
    expect(() => argmax(Float32Array.from([Number.NaN, Number.NaN]))).toThrow(LogitsNotFiniteError);
    expect(() => argmax(Float32Array.from([1, Number.POSITIVE_INFINITY]))).toThrow(LogitsNotFiniteError);
  });
});

test('largest agrees with a full sort', () => {
  const values = Float32Array.from({ length: 500 }, (_, i) => ((i * 7919) % 101) / 10);
  const sorted = Array.from(values.keys()).sort((a, b) => values[b]! - values[a]! || a - b);
  for (const count of [0, 1, 2, 17, 499, 500, 900])
    expect(largest(values, count)).toEqual(sorted.slice(0, count));
});
