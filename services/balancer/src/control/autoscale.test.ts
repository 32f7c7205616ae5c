import fc from 'fast-check';
import { expect, test } from 'vitest';
import { autoscale, type Recommendation, type ScalingLimits, type ScalingSample } from './autoscale.ts';

const limits: ScalingLimits = {
  min: 1,
  max: 8,
  targetRequests: 0,
  targetTokens: 0,
  targetStepMs: 0,
  upWindowMs: 0,
  downWindowMs: 60_000,
  idleMs: 100_000,
};
const idle: ScalingSample = {
  current: 1,
  ready: 1,
  requests: 0,
  tokens: 0,
  stepMs: 0,
  batch: 8,
  askedMs: 0,
};

/** Looks every 10 s; each sample is what all replicas have together, and what is decided answers at the next look. */
function trace(samples: Partial<ScalingSample>[], more: Partial<ScalingLimits> = {}): string[] {
  const lines: string[] = [];
  let current = samples[0]!.current ?? 1;
  let past: Recommendation[] = [];
  samples.forEach((each, index) => {
    const nowMs = index * 10_000;
    const sample = { ...idle, ...each, current, ready: each.ready ?? current };
    const verdict = autoscale(sample, { ...limits, ...more }, past, nowMs);
    past = verdict.recommendations;
    current = verdict.desired;
    lines.push(`${nowMs / 1000} s: ${verdict.desired} (${verdict.reason})`);
  });
  return lines;
}

const times = <T>(count: number, value: T): T[] => Array.from({ length: count }, () => value);

test('up at once, down when nothing within the window asked for as many', () => {
  expect(
    trace([
      { requests: 4 },
      { requests: 40 },
      { requests: 41 },
      { requests: 90 },
      ...times(8, { requests: 9 }),
    ]),
  ).toEqual([
    '0 s: 1 (4 requests, 8 for each replica)',
    '10 s: 5 (40 requests, 8 for each replica)',
    '20 s: 5 (41 requests, 8 for each replica: as it should be)',
    '30 s: 8 (90 requests, 8 for each replica)',
    '40 s: 8 (9 requests, 8 for each replica; not for 60 s yet)',
    '50 s: 8 (9 requests, 8 for each replica; not for 60 s yet)',
    '60 s: 8 (9 requests, 8 for each replica; not for 60 s yet)',
    '70 s: 8 (9 requests, 8 for each replica; not for 60 s yet)',
    '80 s: 8 (9 requests, 8 for each replica; not for 60 s yet)',
    '90 s: 8 (9 requests, 8 for each replica; not for 60 s yet)',
    '100 s: 2 (9 requests, 8 for each replica)',
    '110 s: 2 (9 requests, 8 for each replica)',
  ]);
});

test('with an up window a moment of load starts nothing', () => {
  const load = [{ requests: 4 }, { requests: 60 }, { requests: 4 }, ...times(4, { requests: 60 })];
  expect(trace(load, { upWindowMs: 20_000 }).map((line) => line.split(' (')[0])).toEqual([
    '0 s: 1',
    '10 s: 1',
    '20 s: 1',
    '30 s: 1',
    '40 s: 1',
    '50 s: 8',
    '60 s: 8',
  ]);
});

test('slow steps ask for more once those that were started answer; tokens count where they are given', () => {
  expect(
    trace([{ stepMs: 100 }, { stepMs: 100, ready: 1 }, { stepMs: 52 }], {
      targetStepMs: 50,
      downWindowMs: 0,
    }),
  ).toEqual([
    '0 s: 2 (steps of 100 ms, 50 ms wanted)',
    '10 s: 2 (steps of 100 ms, 50 ms wanted: as it should be)',
    '20 s: 2 (steps of 52 ms, 50 ms wanted: as it should be)',
  ]);
  expect(trace([{ requests: 2, tokens: 9000 }], { targetTokens: 3000 })).toEqual([
    '0 s: 3 (9000 tokens, 3000 for each replica)',
  ]);
});

test('the last replica ends when nobody asks, and the next caller brings it back', () => {
  const quiet = { askedMs: 0 };
  const lines = trace([...times(11, quiet), { askedMs: 110_000 }, { askedMs: 110_000, ready: 0 }], {
    min: 0,
  });
  expect(lines.slice(9)).toEqual([
    '90 s: 1 (0 requests, 8 for each replica)',
    '100 s: 0 (nobody has asked for 100 s)',
    '110 s: 1 (a caller asked)',
    '120 s: 1 (none answers yet)',
  ]);
  expect(trace([{ current: 0, askedMs: -1e9 }], { min: 0 })).toEqual(['0 s: 0 (nobody asks)']);
  expect(trace(times(20, quiet)).at(-1)).toBe('190 s: 1 (0 requests, 8 for each replica)');
});

test('what is declared comes first', () => {
  expect(trace([{ current: 9 }])).toEqual(['0 s: 8 (at most 8 are allowed)']);
  expect(trace([{ current: 1 }], { min: 2 })).toEqual(['0 s: 2 (at least 2 are wanted)']);
  expect(trace([{ current: 3, requests: 900 }], { min: 3, max: 3 })).toEqual([
    '0 s: 3 (3 are wanted, neither less nor more)',
  ]);
});

test('whatever the load, the number stays within its limits and a steady load comes to rest', () => {
  const count = fc.nat(200);
  fc.assert(
    fc.property(fc.array(count, { maxLength: 30 }), count, (requests, steady) => {
      const samples = [...requests, ...times(20, steady)].map((each) => ({ requests: each }));
      const numbers = trace(samples).map((line) => Number(line.split(' ')[2]));
      for (const number of numbers) {
        expect(number).toBeGreaterThanOrEqual(1);
        expect(number).toBeLessThanOrEqual(8);
      }
      expect(new Set(numbers.slice(-8)).size).toBe(1);
    }),
  );
});
