import { expect, test } from 'vitest';
import { type Schedule, scheduleFactor } from './schedule.ts';

const trace = (schedule: Schedule, steps: number, warmup: number) =>
  Array.from({ length: steps }, (_, step) => scheduleFactor(schedule, step, steps, warmup));

test.each<[Schedule, number, number[]]>([
  ['linear', 0, [1, 0.75, 0.5, 0.25]],
  ['linear', 2, [0.5, 0.75, 0.5, 0.25]],
  ['linear', 4, [0.25, 0.375, 0.375, 0.25]],
  ['constant', 0, [1, 1, 1, 1]],
  ['constant', 3, [1 / 3, 2 / 3, 1, 1]],
  ['cosine', 0, [1, 0.8535533906, 0.5, 0.1464466094]],
  ['cosine', 2, [0.5, 0.8535533906, 0.5, 0.1464466094]],
])('%s with a warm-up of %i steps', (schedule, warmup, expected) => {
  for (const [step, factor] of trace(schedule, 4, warmup).entries())
    expect(factor).toBeCloseTo(expected[step]!, 9);
});

test('a warm-up that is longer than the run never reaches the peak', () => {
  expect(Math.max(...trace('constant', 5, 10))).toBeCloseTo(0.5, 12);
});

test('no factor is negative, and a decay ends near zero', () => {
  for (const schedule of ['linear', 'cosine'] as const) {
    const factors = trace(schedule, 1000, 30);
    expect(Math.min(...factors)).toBeGreaterThan(0);
    expect(factors.at(-1)).toBeLessThan(2e-3);
  }
});
