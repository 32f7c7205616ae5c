import { createHash } from 'node:crypto';
import {
  emptySequence,
  type Interval,
  intervalOf,
  observe,
  type SequenceState,
} from '@landfall/metrics/confidence-sequence.ts';
import {
  type Experiment,
  type ExperimentArm,
  type ExperimentMetric,
  ExperimentState as State,
} from '@landfall/proto/landfall/prompt/v1/experiment_pb.js';
import { direction, metricName, placeOf, rangeOf, told, valueAt } from './experiment-metric.ts';

/** What has been observed, by arm and by metric (the goal, then the guards). */
export type Tallies = SequenceState[][];

/** The goal, then the guards. */
export const metricsOf = ({ goal, guards }: Experiment): ExperimentMetric[] => [goal!, ...guards];

export const emptyTallies = (experiment: Experiment): Tallies =>
  experiment.arms.map(() => metricsOf(experiment).map(() => emptySequence()));

/** Each interval may be wrong this often, so that none of them is more often than the experiment's alpha (Bonferroni). */
const alphaOfEach = (experiment: Experiment) =>
  experiment.alpha / (experiment.arms.length * metricsOf(experiment).length);

/** sha256 over experiment and subject: stays with the experiment, tells nobody who it is. */
export const subjectKey = (experimentId: string, subject: string): string =>
  createHash('sha256').update(`${experimentId} ${subject}`).digest('base64url');

/** The version that a subject gets: always the same one, until that one is stopped. */
export function versionFor({ arms }: Experiment, key: string): string {
  const share = Buffer.from(key, 'base64url').readUIntBE(0, 6) / 2 ** 48;
  const place = share * arms.reduce((sum, { weight }) => sum + weight, 0);
  let end = 0;
  const arm = arms.find(({ weight }) => {
    end += weight;
    return place < end;
  })!;
  return (arm.stoppedReason ? arms[0]! : arm).version;
}

/** One more value of a version's metric, by its place in `metricsOf`. Of stopped versions nothing counts any more. */
export function record(
  experiment: Experiment,
  tallies: Tallies,
  version: string,
  index: number,
  value: number,
): void {
  const arm = experiment.arms.findIndex((one) => one.version === version);
  if (arm < 0 || experiment.arms[arm]!.stoppedReason) return;
  const place = placeOf(metricsOf(experiment)[index]!, value);
  tallies[arm]![index] = observe(tallies[arm]![index]!, place, alphaOfEach(experiment));
}

/** A metric's mean in its own units. */
export function readingOf(experiment: Experiment, tallies: Tallies, arm: number, index: number): Interval {
  const metric = metricsOf(experiment)[index]!;
  const { mean, low, high } = intervalOf(tallies[arm]![index]!, alphaOfEach(experiment));
  const mid = Number.isNaN(mean) ? 0 : valueAt(metric, mean);
  return { mean: mid, low: valueAt(metric, low), high: valueAt(metric, high) };
}

/**
 * Draws the conclusions that the observations allow, after any number of them: writes stopped versions, state, winner and
 * reason into the experiment.
 * @returns the versions that were stopped now, and whether the state has changed
 */
export function conclude(
  experiment: Experiment,
  tallies: Tallies,
): { stopped: ExperimentArm[]; ended: boolean } {
  const stopped: ExperimentArm[] = [];
  const won = experiment.state === State.WON;
  const challengers = [...experiment.arms.keys()]
    .slice(1)
    .filter((arm) => !experiment.arms[arm]!.stoppedReason);
  for (const arm of challengers) {
    const reason = whyStopped(experiment, tallies, arm, won);
    if (!reason) continue;
    experiment.arms[arm]!.stoppedReason = reason;
    stopped.push(experiment.arms[arm]!);
  }
  const left = challengers.filter((arm) => !experiment.arms[arm]!.stoppedReason);
  const end = (state: State, reason: string) => Object.assign(experiment, { state, reason });
  if (won) {
    const winner = experiment.arms.find(({ version }) => version === experiment.winner)!;
    if (!winner.stoppedReason) return { stopped, ended: false };
    end(State.RETURNED, winner.stoppedReason).winner = '';
    return { stopped, ended: true };
  }
  if (left.length === 0) {
    end(
      State.RETURNED,
      experiment.arms
        .map((arm) => arm.stoppedReason)
        .filter(Boolean)
        .join('; '),
    );
    return { stopped, ended: true };
  }
  const [best] = left
    .map((arm) => ({ arm, ...advantage(experiment, tallies, arm, 0) }))
    .sort((a, b) => b.low - a.low);
  if (best!.low > experiment.goal!.margin) {
    end(State.WON, comparison(experiment, tallies, best!.arm, 0, 'better')).winner =
      experiment.arms[best!.arm]!.version;
    return { stopped, ended: true };
  }
  const all = [0, ...left].every((arm) => tallies[arm]![0]!.count >= Number(experiment.maxInvocations));
  if (all) end(State.INCONCLUSIVE, inconclusive(experiment, tallies, best!.arm));
  return { stopped, ended: all };
}

function whyStopped(experiment: Experiment, tallies: Tallies, arm: number, guardsAlone: boolean): string {
  for (const [index, metric] of metricsOf(experiment).entries()) {
    if (index === 0 && guardsAlone) continue;
    const accepted = index === 0 ? 0 : metric.margin;
    if (advantage(experiment, tallies, arm, index).high < -accepted) {
      return comparison(experiment, tallies, arm, index, 'worse');
    }
  }
  return '';
}

/** By how much a version is better than the label's own, at least and at most, in the metric's units. */
function advantage(
  experiment: Experiment,
  tallies: Tallies,
  arm: number,
  index: number,
): { low: number; high: number } {
  const own = readingOf(experiment, tallies, 0, index);
  const other = readingOf(experiment, tallies, arm, index);
  return direction(metricsOf(experiment)[index]!) > 0
    ? { low: other.low - own.high, high: other.high - own.low }
    : { low: own.low - other.high, high: own.high - other.low };
}

function comparison(
  experiment: Experiment,
  tallies: Tallies,
  arm: number,
  index: number,
  verdict: string,
): string {
  const metric = metricsOf(experiment)[index]!;
  const side = (one: number) => {
    const { mean, low, high } = readingOf(experiment, tallies, one, index);
    return `${told(metric, mean)} (${told(metric, low)} to ${told(metric, high)}) of ${tallies[one]![index]!.count}`;
  };
  const [own, other] = [experiment.arms[0]!.version, experiment.arms[arm]!.version];
  const by =
    metric.margin > 0 && (index > 0 || verdict === 'better')
      ? ` by more than ${told(metric, metric.margin)}`
      : '';
  return `${other} is ${verdict} than ${own} in ${metricName(metric)}${by}: ${side(arm)} invocations against ${side(0)}`;
}

function inconclusive(experiment: Experiment, tallies: Tallies, arm: number): string {
  const metric = experiment.goal!;
  const { low, high } = advantage(experiment, tallies, arm, 0);
  const most = Math.max(Math.abs(low), Math.abs(high));
  return (
    `${experiment.maxInvocations} invocations of each version show no difference in ${metricName(metric)}; ` +
    `if there is one, it is at most ${told(metric, Math.min(most, rangeOf(metric).maximum - rangeOf(metric).minimum))}`
  );
}
