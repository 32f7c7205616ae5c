import type { OptimizationBudget } from '@landfall/proto/landfall/prompt/v1/optimization_pb.js';

const DEFAULTS = { maxCalls: 2000, maxSeconds: 3600, maxRounds: 6, proposals: 12 };

/** Bounds of an optimisation with the defaults in place of zeros. */
export type Bounds = typeof DEFAULTS;

export function boundsOf(budget: OptimizationBudget | undefined): Bounds {
  return {
    maxCalls: budget?.maxCalls || DEFAULTS.maxCalls,
    maxSeconds: budget?.maxSeconds || DEFAULTS.maxSeconds,
    maxRounds: budget?.maxRounds || DEFAULTS.maxRounds,
    proposals: budget?.proposals || DEFAULTS.proposals,
  };
}

/** What is spent so far. */
export interface Spent {
  calls: number;
  seconds: number;
}

/** Why so many more answers can't be had, with what validation needs kept back; undefined when they can. */
export function whySpent(
  { maxCalls, maxSeconds }: Bounds,
  { calls, seconds }: Spent,
  answers: number,
  keptBack: number,
): string | undefined {
  if (seconds >= maxSeconds) return `the budget of ${maxSeconds} seconds is spent`;
  const left = maxCalls - keptBack - calls;
  if (answers <= left) return undefined;
  return `the budget of ${maxCalls} answers is spent: ${calls} were had and ${keptBack} are kept for validation`;
}
