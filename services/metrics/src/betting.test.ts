import { expect, test } from 'vitest';
import { betLower } from './betting.ts';
import { randomOf } from './random.ts';

const seed = Number(process.env.LANDFALL_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31));
console.info(`LANDFALL_TEST_SEED=${seed}`);

const ALPHA = 0.05;
const TRIALS = 2000;
const LENGTH = 400;

/** Share of courses in which wealth ever reaches 1/alpha. */
function alarms(draw: (random: () => number) => number, options: Parameters<typeof betLower>[1]): number {
  let found = 0;
  for (let trial = 0; trial < TRIALS; trial++) {
    const random = randomOf(BigInt(seed), options.bound, trial);
    const values = Array.from({ length: LENGTH }, () => draw(random));
    if (betLower(values, options).most >= 1 / ALPHA) found++;
  }
  return found / TRIALS;
}

test('looked at after every value, false alarms stay below alpha, whatever the values are like', () => {
  const range = { minimum: 0, maximum: 1 };
  // Four standard errors of a share of alpha: less than one run in 30,000 fails by chance.
  const most = ALPHA + 4 * Math.sqrt((ALPHA * (1 - ALPHA)) / TRIALS);
  for (const p of [0.05, 0.5, 0.9, 0.99]) {
    expect(alarms((random) => (random() < p ? 1 : 0), { ...range, bound: p })).toBeLessThan(most);
  }
  expect(alarms((random) => random(), { ...range, bound: 0.5 })).toBeLessThan(most);
  // A mean of 7 that hangs on rare values of 1: the hardest for tests that rely on the normal distribution.
  const rare = (random: () => number) => (random() < 1 / 30 ? 1 : 7 + 6 / 29);
  expect(alarms(rare, { minimum: 1, maximum: 10, bound: 7 })).toBeLessThan(most);
});

test('a mean that has fallen is found', () => {
  const drop = (random: () => number) => (random() < 0.7 ? 1 : 0);
  expect(alarms(drop, { minimum: 0, maximum: 1, bound: 0.85 })).toBeGreaterThan(0.95);
  const marks = (random: () => number) => 1 + Math.floor(random() * 8);
  expect(alarms(marks, { minimum: 1, maximum: 10, bound: 6 })).toBeGreaterThan(0.95);
});

test('the scale makes no difference, and values outside count as the ends', () => {
  const random = randomOf(BigInt(seed), 'scale');
  const values = Array.from({ length: 50 }, () => random());
  const one = betLower(values, { bound: 0.6, minimum: 0, maximum: 1 });
  const other = betLower(
    values.map((value) => 1 + 9 * value),
    { bound: 1 + 9 * 0.6, minimum: 1, maximum: 10 },
  );
  expect(other.most).toBeCloseTo(one.most, 8);
  const far = values.map((value) => (value < 0.5 ? -100 : 100));
  const ends = values.map((value) => (value < 0.5 ? 0 : 1));
  const options = { bound: 0.6, minimum: 0, maximum: 1 };
  expect(betLower(far, options).now).toBe(betLower(ends, options).now);
  expect(betLower([], options)).toEqual({ most: 1, now: 1, count: 0, mean: 0 });
  for (const bound of [0, 1, Number.NaN])
    expect(() => betLower([], { ...options, bound })).toThrow(RangeError);
});
