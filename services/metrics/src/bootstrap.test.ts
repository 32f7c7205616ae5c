import { describe, expect, it } from 'vitest';
import { pairedBootstrap } from './bootstrap.ts';

const mean = (values: readonly number[]) => (rows: Uint32Array) =>
  rows.reduce((sum, row) => sum + values[row]!, 0) / rows.length;

describe('paired bootstrap', () => {
  const base = Array.from({ length: 200 }, (_, i) => (i * 37) % 101);
  const run = (second: readonly number[], more = {}) =>
    pairedBootstrap(mean(base), mean(second), { rows: base.length, resamples: 500, seed: 7n, ...more });

  it('gives a constant difference without width: the rows are the same for both', () => {
    const shifted = run(base.map((x) => x + 3));
    expect(shifted.difference).toBeCloseTo(3, 9);
    expect(shifted.low).toBeCloseTo(3, 9);
    expect(shifted.high).toBeCloseTo(3, 9);
    expect(shifted.pValue).toBe(0);
    expect(
      run(
        base.map((x) => x + 3),
        { lowerIsBetter: true },
      ).pValue,
    ).toBe(1);
  });

  it('holds nothing to be better where rows gain and lose alike', () => {
    const noisy = run(base.map((x, i) => x + (i % 2 === 0 ? 10 : -10)));
    expect(noisy.low).toBeLessThan(0);
    expect(noisy.high).toBeGreaterThan(0);
    expect(noisy.pValue).toBeGreaterThan(0.05);
    // Of 200 rows of +-10 the mean has a standard error of 10 / sqrt(200), 95 % lie within 1.96 of them.
    expect(noisy.high - noisy.low).toBeGreaterThan(2);
    expect(noisy.high - noisy.low).toBeLessThan(4);
  });

  it('comes out the same for the same seed alone', () => {
    const other = base.map((x, i) => x + ((i * 13) % 7) - 3);
    expect(run(other)).toEqual(run(other));
    expect(run(other, { seed: 8n }).low).not.toBe(run(other).low);
  });
});
