import { create } from '@bufbuild/protobuf';
import { type Random, randomOf } from '@landfall/metrics/random.ts';
import {
  type Experiment,
  ExperimentSchema,
  ExperimentState as State,
} from '@landfall/proto/landfall/prompt/v1/experiment_pb.js';
import { expect, test } from 'vitest';
import { conclude, emptyTallies, record, subjectKey, versionFor } from './experiment.ts';

const seed = BigInt(process.env.LANDFALL_TEST_SEED || Math.floor(Math.random() * 2 ** 31));
console.info(`LANDFALL_TEST_SEED=${seed}`);

const ALPHA = 0.1;
const RUNS = 300;

const newExperiment = (maxInvocations = 600n): Experiment =>
  create(ExperimentSchema, {
    id: 'x',
    arms: ['1.0.0', '1.1.0', '1.2.0'].map((version) => ({ version, weight: 1 })),
    goal: { kind: { case: 'score', value: 'quality' } },
    guards: [{ kind: { case: 'errorRate', value: true }, margin: 0.02 }],
    alpha: ALPHA,
    maxInvocations,
    state: State.RUNNING,
  });

/** Marks around a mean, from 1 to 10. */
const mark = (random: Random, mean: number) =>
  Math.min(10, Math.max(1, Math.round(mean + 4 * (random() + random() - 1))));

/** Runs an experiment to its end, with a look after each invocation. */
function play(
  random: Random,
  experiment: Experiment,
  truth: { mean: number; failing: number }[],
): Experiment {
  const tallies = emptyTallies(experiment);
  while (experiment.state === State.RUNNING) {
    const arm = Math.floor(random() * experiment.arms.length);
    const { version } = experiment.arms[arm]!;
    const failed = random() < truth[arm]!.failing;
    record(experiment, tallies, version, 1, Number(failed));
    if (!failed) record(experiment, tallies, version, 0, mark(random, truth[arm]!.mean));
    conclude(experiment, tallies);
  }
  return experiment;
}

test('versions that are alike are told apart at most as often as alpha says, however often one looks', () => {
  let wrong = 0;
  for (let run = 0; run < RUNS; run++) {
    const random = randomOf(seed, 'alike', run);
    const same = { mean: 2 + random() * 7, failing: random() * 0.3 };
    const { state, arms } = play(random, newExperiment(), [same, same, same]);
    if (state !== State.INCONCLUSIVE || arms.some(({ stoppedReason }) => stoppedReason)) wrong++;
  }
  // A share of ALPHA would exceed this once in 10,000 times.
  expect(wrong).toBeLessThanOrEqual(ALPHA * RUNS + 3.8 * Math.sqrt(ALPHA * (1 - ALPHA) * RUNS));
});

test('a better version wins, a worse one and one that fails are stopped, each with figures', () => {
  const random = randomOf(seed, 'different');
  const won = play(random, newExperiment(5000n), [
    { mean: 5, failing: 0.01 },
    { mean: 8, failing: 0.01 },
    { mean: 5, failing: 0.5 },
  ]);
  expect([won.state, won.winner]).toEqual([State.WON, '1.1.0']);
  expect(won.reason).toMatch(
    /^1\.1\.0 is better than 1\.0\.0 in score quality: [\d.]+ \([\d.]+ to [\d.]+\) of \d+ invocations against /,
  );
  const returned = play(random, newExperiment(5000n), [
    { mean: 7, failing: 0.01 },
    { mean: 4, failing: 0.01 },
    { mean: 7, failing: 0.4 },
  ]);
  expect(returned.state).toBe(State.RETURNED);
  expect(returned.arms[1]!.stoppedReason).toMatch(/^1\.1\.0 is worse than 1\.0\.0 in score quality: /);
  expect(returned.arms[2]!.stoppedReason).toMatch(
    /is worse than 1\.0\.0 in error_rate by more than 2\.0 %: \d/,
  );
});

test('a winner whose guard is broken later is no winner', () => {
  const random = randomOf(seed, 'later');
  const experiment = newExperiment(5000n);
  const tallies = emptyTallies(experiment);
  for (let i = 0; experiment.state === State.RUNNING; i++) {
    const { version } = experiment.arms[i % 3]!;
    record(experiment, tallies, version, 0, mark(random, version === '1.1.0' ? 9 : 4));
    record(experiment, tallies, version, 1, 0);
    conclude(experiment, tallies);
  }
  expect(experiment.state).toBe(State.WON);
  for (let i = 0; experiment.state === State.WON && i < 5000; i++) {
    record(experiment, tallies, '1.1.0', 1, 1);
    conclude(experiment, tallies);
  }
  expect(experiment).toMatchObject({ state: State.RETURNED, winner: '' });
});

test('subjects fall to the versions by weight, stay there, and go to the first when theirs is stopped', () => {
  const experiment = newExperiment();
  for (const [i, weight] of [1, 3, 6].entries()) experiment.arms[i]!.weight = weight;
  const subjects = Array.from({ length: 10_000 }, (_, i) => subjectKey(`${seed}`, `subject ${i}`));
  const before = subjects.map((key) => versionFor(experiment, key));
  const share = (version: string) => before.filter((one) => one === version).length / subjects.length;
  expect(share('1.0.0')).toBeCloseTo(0.1, 1);
  expect(share('1.1.0')).toBeCloseTo(0.3, 1);
  experiment.arms[2]!.stoppedReason = 'worse';
  const after = subjects.map((key) => versionFor(experiment, key));
  expect(after).toEqual(before.map((version) => (version === '1.2.0' ? '1.0.0' : version)));
});
