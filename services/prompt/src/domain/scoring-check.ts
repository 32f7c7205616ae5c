import { invalidArgument } from '@landfall/common/errors/errors.ts';
import type { JudgeMetric } from '@landfall/proto/landfall/prompt/v1/evaluation_pb.js';
import type { ScoringPolicy } from '@landfall/proto/landfall/prompt/v1/log_policy_pb.js';
import type { ScoreFunction } from '@landfall/proto/landfall/prompt/v1/score_function_pb.js';
import { checkScoreFunction, needsExpected, scoreNameOf } from './score-functions.ts';

/**
 * Whether functions and judge can be run, and give scores of different names.
 * @param prefix of the fields, such as `policy.`
 * @throws LandfallError INVALID_ARGUMENT naming the field
 */
export function checkScoring(
  {
    functions,
    judge,
    judgeScore,
  }: { functions: ScoreFunction[]; judge?: JudgeMetric | undefined; judgeScore: string },
  prefix: string,
): void {
  if (functions.length === 0 && !judge) {
    throw invalidArgument(`${prefix}functions`, 'needs a function, or a judge');
  }
  const names = new Set(judge ? [judgeScore || 'quality'] : []);
  for (const [i, one] of functions.entries()) {
    const field = `${prefix}functions[${i}]`;
    checkScoreFunction(one, field);
    const name = scoreNameOf(one);
    if (name === 'quality')
      throw invalidArgument(`${field}.name`, 'quality is a mark of 1 to 10: take another name');
    if (names.has(name)) throw invalidArgument(`${field}.name`, `two scores are named '${name}'`);
    names.add(name);
  }
}

/** @throws LandfallError INVALID_ARGUMENT also for a function that compares with an expected answer: there is none */
export function checkScoringPolicy(policy: ScoringPolicy): void {
  checkScoring(policy, 'policy.');
  const comparing = policy.functions.findIndex(needsExpected);
  if (comparing >= 0) {
    throw invalidArgument(
      `policy.functions[${comparing}]`,
      'compares with an expected answer, which live invocations have not; use ComputeScores or a test set',
    );
  }
}
