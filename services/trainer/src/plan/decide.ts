import { toJsonString } from '@bufbuild/protobuf';
import { TrainingConfigSchema } from '@landfall/proto/landfall/trainer/v1/job_pb.js';
import { diagnose, figure } from './diagnose.ts';
import {
  bestRound,
  isBetter,
  meetsGoal,
  type RoundEvidence,
  type Settings,
  type Situation,
} from './evidence.ts';
import { type Step, stepsFrom } from './steps.ts';

/** The next step on a data set, or the end; `reason` is for people. */
export type Decision =
  | ({ kind: 'next'; reason: string; dataset: string } & Omit<Step, 'change'>)
  | { kind: 'end'; outcome: 'met' | 'budget' | 'exhausted'; reason: string; best: number };

/** Values nearer to one another than this share of the goal are told apart by their loss. */
const NEAR = 0.02;
/** What a method's step takes next to LoRA's. */
const COST: Record<Settings['method'], number> = {
  lora: 1,
  qlora: 1.6,
  ptuning_v2: 1,
  frozen: 1.2,
  full: 1.6,
};
const RECOMPUTED = 1.35;
/** A run with paraphrases has at most twice the rows. */
const WIDENED = 2;

/**
 * What a plan does after its rounds so far: the best ones are gone on from, no settings are tried twice, and a step
 * that would not fit what is left of the budget is not taken.
 */
export function decide(situation: Situation): Decision {
  const { rounds, metric, threshold, maxRounds } = situation;
  const best = bestRound(metric, rounds);
  const met = rounds.findIndex(({ value, passed }) => passed && meetsGoal(metric, value, threshold));
  if (met >= 0) {
    const held = rounds[best]!.passed ? best : met;
    const reason = `${metric} is ${figure(rounds[held]!.value!)}; the goal is ${bound(metric)} ${threshold}`;
    return { kind: 'end', outcome: 'met', reason, best: held };
  }
  const end = (outcome: 'budget' | 'exhausted', why: string): Decision => {
    return { kind: 'end', outcome, reason: `${why}; ${standing(situation, best)}`, best };
  };
  if (rounds.length >= maxRounds) return end('budget', `${rounds.length} of ${maxRounds} rounds are done`);
  if (situation.secondsLeft <= 0) return end('budget', 'the time is spent');
  if (situation.tokensLeft <= 0) return end('budget', 'the tokens are spent');
  const tried = new Set(rounds.map(fingerprint));
  let tooLong = 0;
  for (const { step, why, from } of candidates(situation)) {
    if (!step.paraphrase && tried.has(fingerprint({ ...step, dataset: from.dataset }))) continue;
    const need = estimate(step, rounds);
    if (need.seconds > situation.secondsLeft || need.tokens > situation.tokensLeft) {
      tooLong++;
      continue;
    }
    const { change, ...next } = step;
    return { kind: 'next', ...next, dataset: from.dataset, reason: `${why}: ${change}` };
  }
  if (tooLong > 0) {
    const { secondsLeft, tokensLeft } = situation;
    const left = [
      ...(Number.isFinite(secondsLeft) ? [`${Math.max(0, Math.floor(secondsLeft))} s`] : []),
      ...(Number.isFinite(tokensLeft) ? [`${tokensLeft} tokens`] : []),
    ];
    return end('budget', `another round does not fit into the ${left.join(' and ')} that are left`);
  }
  return end('exhausted', 'no step is left that was not tried');
}

/** The same for the same settings on the same data, whatever their round. */
export function fingerprint({ method, config, dataset }: Settings): string {
  return `${method} ${dataset} ${toJsonString(TrainingConfigSchema, config)}`;
}

interface Candidate {
  step: Step;
  why: string;
  from: RoundEvidence;
}

/** Mending the last round comes first where it broke, then going on from the best, then from the others. */
function* candidates(situation: Situation): Generator<Candidate> {
  const { rounds, metric, threshold } = situation;
  const last = rounds.at(-1)!;
  const pivot = strongest(situation);
  const broke = pivot !== last && ['memory', 'diverged'].includes(diagnose(last).finding);
  const sources = [...(broke ? [last] : []), ...(pivot ? [pivot] : []), ...rounds.toReversed()];
  for (const from of new Set(sources)) {
    const { finding, text } = diagnose(from);
    const missed = !from.passed && meetsGoal(metric, from.value, threshold);
    const number = rounds.indexOf(from) + 1;
    const said = missed ? `the goal is met and a gate is missed (${from.failure})` : text;
    const why = from === last ? said : `going on from round ${number}: ${said}`;
    // A round that broke is only mended; what else could be tried starts from a better one.
    const mending = from === last && broke;
    const steps = stepsFrom(missed ? 'gates' : finding, from, situation);
    for (const step of mending ? steps.slice(0, 2) : steps) yield { step, why, from };
  }
}

/** The round to go on from: the best value; among values that hardly differ the lowest loss. */
function strongest({ rounds, metric, threshold }: Situation): RoundEvidence | undefined {
  const near = Math.max(Math.abs(threshold) * NEAR, 1e-9);
  let best: RoundEvidence | undefined;
  for (const round of rounds) {
    const { value } = round;
    if (value === undefined || !Number.isFinite(value)) continue;
    if (!best || wins(round, best)) best = round;
  }
  return best ?? rounds.at(-1);

  function wins(one: RoundEvidence, held: RoundEvidence): boolean {
    const [a, b] = [one.value!, held.value!];
    if (Math.abs(a - b) > near) return isBetter(metric, a, b);
    return closing(one) < closing(held);
  }
}

/** The validation loss at the end where there is one, else the training loss. */
function closing({ losses, evaluationLosses }: RoundEvidence): number {
  if (evaluationLosses.length > 0) return Math.min(...evaluationLosses);
  const tail = losses.slice(-Math.max(1, Math.ceil(losses.length / 8)));
  return tail.length > 0 ? tail.reduce((sum, loss) => sum + loss, 0) / tail.length : Infinity;
}

/** What a step would take, from the latest round that trained, the same method's first. */
export function estimate(step: Omit<Step, 'change' | 'action'>, rounds: readonly RoundEvidence[]) {
  const trained = rounds
    .toReversed()
    .filter(({ losses, trainSeconds }) => losses.length > 0 && trainSeconds > 0);
  const like = trained.find(({ method }) => method === step.method) ?? trained[0];
  if (!like) return { seconds: 0, tokens: 0 };
  const cost = (settings: { method: Settings['method']; config: Settings['config'] }) =>
    COST[settings.method] * (settings.config.gradientCheckpointing ? RECOMPUTED : 1);
  const passes = (step.config.epochs / Math.max(1, like.config.epochs)) * (step.paraphrase ? WIDENED : 1);
  const ratio = (passes * cost(step)) / cost(like);
  return {
    seconds: like.trainSeconds * ratio + like.otherSeconds,
    tokens: Math.round(like.tokens * passes),
  };
}

const bound = (metric: string) => (metric === 'perplexity' ? 'at most' : 'at least');

function standing({ rounds, metric, threshold }: Situation, best: number): string {
  const goal = `the goal is ${metric} ${bound(metric)} ${threshold}`;
  const round = rounds[best];
  if (!round) return `no round gave a result, ${goal}; the last one: ${diagnose(rounds.at(-1)!).text}`;
  if (meetsGoal(metric, round.value, threshold))
    return `${goal} and was met, but not the gates: ${round.failure}`;
  return `the best is ${figure(round.value!)} (round ${best + 1}), ${goal}`;
}
