import { expect, test } from 'vitest';
import { stepMs } from './balance-engine.ts';
import { simulate } from './balance-simulation.ts';
import { MIXES, mixedWork } from './balance-workload.ts';
import { lcg } from './random.ts';
import { quantile } from './report.ts';

const seed = Number(process.env.LANDFALL_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31));
process.stdout.write(`balance: LANDFALL_TEST_SEED=${seed}\n`);

const run = (choice: 'policy' | 'round robin', slowness: readonly number[] = []) =>
  simulate({
    ...{ choice, slowness, replicas: 4, callers: 3, random: lcg(seed + 1) },
    work: mixedWork(MIXES.mixed, 600, 5, lcg(seed)),
  });

test('steps take what was measured, and what lies between lies between', () => {
  expect([1, 4, 8, 16].map((rows) => stepMs(rows, 0))).toEqual([34, 37, 48, 55]);
  expect(stepMs(12, 0)).toBeCloseTo(51.5);
  expect(stepMs(0, 834)).toBeCloseTo(1000);
});

test('every request is answered once, in full, and the same seed gives the same run', () => {
  const one = run('policy');
  expect(one.jobs.length).toBe(600);
  for (const { arrivedMs, firstMs, endMs, outputLeft, promptLeft } of one.jobs) {
    expect([outputLeft, promptLeft]).toEqual([0, 0]);
    expect(firstMs).toBeGreaterThan(arrivedMs);
    expect(endMs).toBeGreaterThanOrEqual(firstMs);
  }
  expect(one.shares.reduce((sum, share) => sum + share, 0)).toBe(600);
  expect(run('policy').jobs.map(({ endMs }) => endMs)).toEqual(one.jobs.map(({ endMs }) => endMs));
});

test('a replica ten times slower gets a few of the requests, and no other waits for them', () => {
  const [ours, peer] = [run('policy', [10]), run('round robin', [10])];
  expect(ours.shares[0]).toBeLessThan(60);
  const p95 = ({ jobs }: typeof ours) =>
    quantile(
      jobs.map(({ endMs, arrivedMs }) => endMs - arrivedMs),
      0.95,
    );
  expect(p95(ours)).toBeLessThan(p95(peer) / 2);
});
