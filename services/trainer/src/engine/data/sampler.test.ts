import { permutation, randomOf } from '@landfall/metrics/random.ts';
import { describe, expect, it } from 'vitest';
import { batchesOfStep, epochAt, type Plan, stepsPerEpoch, templateOf, totalSteps } from './sampler.ts';

const plan: Plan = { rows: 23, epochs: 3, batchSize: 4, gradientAccumulationSteps: 4, seed: 2n ** 63n + 5n };

describe('the sampler', () => {
  it('shows each row once an epoch, in another order each epoch', () => {
    expect(stepsPerEpoch(plan)).toBe(2);
    expect(totalSteps(plan)).toBe(6);
    const orders = [0, 1, 2].map((epoch) =>
      [0, 1].flatMap((step) => batchesOfStep(plan, epoch * 2 + step).batches.flatMap((batch) => [...batch])),
    );
    for (const order of orders) expect([...order].sort((a, b) => a - b)).toEqual([...Array(23).keys()]);
    expect(orders[0]).not.toEqual(orders[1]);
    expect(epochAt(plan, 3)).toBe(1.5);
  });

  it('is a function of the step alone', () => {
    const later = batchesOfStep(plan, 5);
    expect(later).toEqual(batchesOfStep(plan, 5));
    expect(later.epoch).toBe(2);
    expect(later.batches.map((batch) => batch.length)).toEqual([4, 3]);
    expect(batchesOfStep({ ...plan, seed: 6n }, 5)).not.toEqual(later);
  });

  it('gives a row another template each epoch', () => {
    for (let row = 0; row < 20; row++) {
      const taken = [0, 1, 2].map((epoch) => templateOf(9n, 3, row, epoch));
      expect([...taken].sort()).toEqual([0, 1, 2]);
    }
    const first = new Set([...Array(50).keys()].map((row) => templateOf(9n, 3, row, 0)));
    expect(first.size).toBe(3);
  });

  it('draws uniformly and apart', () => {
    const random = randomOf(1n, 'a');
    const mean = [...Array(10_000)].reduce<number>((sum) => sum + random(), 0) / 10_000;
    expect(mean).toBeCloseTo(0.5, 1);
    expect(randomOf(1n, 'a')()).not.toBe(randomOf(1n, 'b')());
    expect([...permutation(5, randomOf(1n, 'p'))].sort()).toEqual([0, 1, 2, 3, 4]);
  });
});
