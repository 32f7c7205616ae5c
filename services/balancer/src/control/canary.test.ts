import { expect, test } from 'vitest';
import { type Told, verdictOn } from './canary.ts';

const limits = { errorMargin: 0.05, minCalls: 50, scoreMargin: 0.1, minScores: 10 };
const told = (some: Partial<Told>): Told => ({ calls: 0, errors: 0, scores: 0, scoreSum: 0, ...some });

test('errors count from enough calls on, against what is usual', () => {
  const stable = told({ calls: 1000, errors: 20 });
  expect(verdictOn(told({ calls: 49, errors: 49 }), stable, limits)).toBe('');
  expect(verdictOn(told({ calls: 100, errors: 7 }), stable, limits)).toBe('');
  expect(verdictOn(told({ calls: 100, errors: 8 }), stable, limits)).toBe(
    "8.0 % of its 100 calls failed, 2.0 % of the stable model's 1000",
  );
  expect(verdictOn(told({ calls: 100, errors: 8 }), told({ calls: 100, errors: 30 }), limits)).toBe('');
  expect(verdictOn(told({ calls: 99, errors: 99 }), told({}), limits)).toBe('');
  expect(verdictOn(told({ calls: 100, errors: 6 }), told({}), limits)).not.toBe('');
});

test('scores count when both have enough', () => {
  const stable = told({ scores: 10, scoreSum: 9 });
  expect(verdictOn(told({ scores: 9, scoreSum: 0 }), stable, limits)).toBe('');
  expect(verdictOn(told({ scores: 20, scoreSum: 2 }), told({ scores: 9, scoreSum: 9 }), limits)).toBe('');
  expect(verdictOn(told({ scores: 20, scoreSum: 16.2 }), stable, limits)).toBe('');
  expect(verdictOn(told({ scores: 20, scoreSum: 15 }), stable, limits)).toBe(
    "its 20 scores have a mean of 0.750, the stable model's 10 one of 0.900",
  );
});
