import type { TrainingConfig } from '@landfall/proto/landfall/trainer/v1/job_pb.js';
import type { MethodName } from '../engine/advice/choose-method.ts';

/** What a round trained with. */
export interface Settings {
  method: MethodName;
  /** Without gaps. */
  config: TrainingConfig;
  /** `models:/name/version` that was trained on. */
  dataset: string;
}

/** A round that has ended, as far as a decision needs it. */
export interface RoundEvidence extends Settings {
  /** What was changed for it, such as `more_epochs`. */
  action: string;
  /** Training loss by step. */
  losses: readonly number[];
  /** Validation loss by look; empty where it was not looked at. */
  evaluationLosses: readonly number[];
  /** The goal's metric; undefined where it was not measured. */
  value: number | undefined;
  /** The job's gates were passed. */
  passed: boolean;
  /** Why the job failed; empty when it did not. */
  failure: string;
  /** Seconds of training, and of everything around it. */
  trainSeconds: number;
  otherSeconds: number;
  /** Tokens it trained on. */
  tokens: number;
}

/** A method that could be taken, with the settings advised for it. */
export interface Alternative {
  method: MethodName;
  config: TrainingConfig;
  fits: boolean;
}

/** Everything a decision rests on. */
export interface Situation {
  metric: string;
  threshold: number;
  rounds: readonly RoundEvidence[];
  maxRounds: number;
  /** Infinity for no bound. */
  secondsLeft: number;
  tokensLeft: number;
  /** Every method, with advised settings. */
  alternatives: readonly Alternative[];
  /** The data is mostly Chinese: templates are written in it. */
  chinese: boolean;
  /** A served model may paraphrase questions, and has not done so yet. */
  canParaphrase: boolean;
}

const LOWER_IS_BETTER = new Set(['perplexity']);

/** Whether a value reaches the goal. */
export function meetsGoal(metric: string, value: number | undefined, threshold: number): boolean {
  if (value === undefined || !Number.isFinite(value)) return false;
  return LOWER_IS_BETTER.has(metric) ? value <= threshold : value >= threshold;
}

/** Whether a value is better than another. */
export function isBetter(metric: string, value: number, than: number): boolean {
  return LOWER_IS_BETTER.has(metric) ? value < than : value > than;
}

/** The index of the round with the best value, gates passed before gates missed; -1 when none was measured. */
export function bestRound(metric: string, rounds: readonly RoundEvidence[]): number {
  let best = -1;
  for (const [i, { value, passed }] of rounds.entries()) {
    if (value === undefined || !Number.isFinite(value)) continue;
    const held = rounds[best];
    const wins = !held || (passed !== held.passed ? passed : isBetter(metric, value, held.value!));
    if (wins) best = i;
  }
  return best;
}
