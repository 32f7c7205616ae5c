import type { TuningPlan } from '@landfall/proto/landfall/trainer/v1/plan_pb.js';
import type { PlanRow } from '../db/plan-entities.ts';
import { figure } from './diagnose.ts';

/** What is left of a plan's budget; Infinity where it has no bound. */
export interface Left {
  seconds: number;
  tokens: number;
}

/** Seconds count from the plan's creation, whatever it waited for. */
export function budgetLeft(
  { createdMs }: Pick<PlanRow, 'createdMs'>,
  { maxSeconds, maxTokens, tokens }: TuningPlan,
): Left {
  return {
    seconds: maxSeconds > 0 ? maxSeconds - (Date.now() - createdMs) / 1000 : Infinity,
    tokens: maxTokens > 0n ? Number(maxTokens - tokens) : Infinity,
  };
}

/** Why a round does not fit into what is left; undefined when it does. */
export function tooLarge(left: Left, need: Left): string | undefined {
  if (need.seconds > left.seconds) {
    const [takes, has] = [figure(need.seconds), figure(left.seconds)];
    return `it would take about ${takes} s, and ${has} s are left`;
  }
  if (need.tokens > left.tokens)
    return `it would take about ${need.tokens} tokens, and ${left.tokens} are left`;
  return undefined;
}
