import { describe, expect, test } from 'vitest';
import { philox2x32, seedOf, uniformAt } from './random.ts';

describe('philox2x32', () => {
  test('gives the known answers of Random123', () => {
    expect(philox2x32(0, 0, 0)).toEqual([0xff1dae59, 0x6cd10df2]);
    expect(philox2x32(0xffffffff, 0xffffffff, 0xffffffff)).toEqual([0x2c3f628b, 0xab4fd7ad]);
    expect(philox2x32(0x243f6a88, 0x85a308d3, 0x13198a2e)).toEqual([0xdd7ce038, 0xf62a4c12]);
  });

  test('uniform numbers lie in [0, 1), differ by position and by seed, and average one half', () => {
    let sum = 0;
    const seen = new Set<number>();
    for (let i = 0; i < 20_000; i++) {
      const u = uniformAt(7n, i);
      expect(u >= 0 && u < 1).toBe(true);
      seen.add(u);
      sum += u;
    }
    expect(seen.size).toBe(20_000);
    expect(Math.abs(sum / 20_000 - 0.5)).toBeLessThan(0.01);
    expect(uniformAt(1n, 0)).not.toBe(uniformAt(1n << 32n, 0));
    expect(uniformAt(-1n, 3)).toBe(uniformAt((1n << 64n) - 1n, 3));
  });
});

test('answers to one request have seeds of their own, the first the request’s', () => {
  const seeds = (seed: bigint) => Array.from({ length: 16 }, (_, index) => seedOf(seed, index));
  expect(seeds(7n)[0]).toBe(7n);
  expect(seeds(7n)).toEqual(seeds(7n));
  expect(new Set([7n, 8n, 7n << 32n, 0n].flatMap(seeds)).size).toBe(64);
  for (const seed of seeds((1n << 64n) - 1n)) expect(seed >= 0n && seed < 1n << 64n).toBe(true);
});
