import { expect, test } from 'vitest';
import { emptySequence, intervalOf, observe } from './confidence-sequence.ts';
import { type Random, randomOf } from './random.ts';

const seed = BigInt(process.env.LANDFALL_TEST_SEED || Math.floor(Math.random() * 2 ** 31));
console.info(`LANDFALL_TEST_SEED=${seed}`);

const ALPHA = 0.1;
const RUNS = 400;
const LENGTH = 1000;
/** Of RUNS that are each wrong with probability ALPHA, more than this many are wrong less than once in 10,000 times. */
const MOST_WRONG = ALPHA * RUNS + 3.8 * Math.sqrt(ALPHA * (1 - ALPHA) * RUNS);

const distributions: Record<string, { mean: number; draw: (random: Random) => number }> = {
  'a rare failure': { mean: 0.01, draw: (random) => Number(random() < 0.01) },
  'a fair coin': { mean: 0.5, draw: (random) => Number(random() < 0.5) },
  'a uniform number': { mean: 0.5, draw: (random) => random() },
  'scores of 7, 8 and 9 of 10': { mean: 7 / 9, draw: (random) => (6 + Math.floor(random() * 3)) / 9 },
  'a heavy tail': { mean: 1 / 3, draw: (random) => random() ** 2 },
};

/** Runs in which a look after some observation finds `wrong`. */
function everWrong(name: string, draw: (random: Random) => number, wrong: (run: Run) => boolean): number {
  let count = 0;
  for (let i = 0; i < RUNS; i++) {
    const random = randomOf(seed, name, i);
    const run: Run = { state: emptySequence(), squares: 0 };
    for (let n = 0; n < LENGTH; n++) {
      const x = draw(random);
      run.state = observe(run.state, x, ALPHA);
      run.squares += x * x;
      if (wrong(run)) {
        count++;
        break;
      }
    }
  }
  return count;
}
interface Run {
  state: ReturnType<typeof emptySequence>;
  squares: number;
}

test.each(Object.entries(distributions))(
  '%s: whoever looks every time is wrong at most as often as said',
  (name, of) => {
    const wrong = everWrong(name, of.draw, ({ state }) => {
      const { low, high } = intervalOf(state, ALPHA);
      return of.mean < low || of.mean > high;
    });
    expect(wrong).toBeLessThanOrEqual(MOST_WRONG);
  },
);

test('an interval for one look, looked at every time, is wrong far more often: the test above can fail', () => {
  const { mean, draw } = distributions['a fair coin']!;
  const wrong = everWrong('naive', draw, ({ state: { count, sum }, squares }) => {
    const average = sum / count;
    const deviation = Math.sqrt(Math.max(squares / count - average ** 2, 0) / count);
    return count > 30 && Math.abs(average - mean) > 1.645 * deviation;
  });
  expect(wrong).toBeGreaterThan(MOST_WRONG);
});

test('the interval narrows as the square root of the count and with the spread of what is seen', () => {
  const width = (draw: (random: Random) => number, length: number) => {
    const random = randomOf(seed, 'width', length);
    let state = emptySequence();
    for (let n = 0; n < length; n++) state = observe(state, draw(random), ALPHA);
    const { low, high } = intervalOf(state, ALPHA);
    return high - low;
  };
  const coin = distributions['a fair coin']!.draw;
  expect(width(coin, 20_000) / width(coin, 1000)).toBeLessThan(0.3);
  expect(width(distributions['a rare failure']!.draw, 5000)).toBeLessThan(width(coin, 5000) / 2);
});

test('a value out of its range, or none at all, is refused', () => {
  for (const x of [-0.01, 1.01, Number.NaN])
    expect(() => observe(emptySequence(), x, ALPHA)).toThrow(RangeError);
  expect(intervalOf(emptySequence(), ALPHA)).toEqual({ mean: Number.NaN, low: 0, high: 1 });
});
