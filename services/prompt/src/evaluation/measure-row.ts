import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import type { EvaluationMetric, TestSetRow } from '@landfall/proto/landfall/prompt/v1/evaluation_pb.js';
import type { OutputContract } from '@landfall/proto/landfall/prompt/v1/output_contract_pb.js';
import type { ChatMessage } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import type { PromptContext } from '../context.ts';
import { judge } from '../domain/judge.ts';
import { checkOutput } from '../domain/output-contract.ts';
import { codeScore } from '../domain/score-functions.ts';
import { patiently } from '../jobs/patience.ts';
import { appliesTo, metricName } from './metrics.ts';

/** Below live calls. */
export const BACKGROUND_PRIORITY = -5;
/** How long one question waits for a deployment that is away. */
export const PATIENCE_MS = 60_000;
/** BLEU and chrF of a row go to 100, a judge's mark to 10, everything else to 1. */
const FULL: Readonly<Record<string, number>> = { bleu: 100, chrf: 100 };

/** What is known of a row when it is measured. */
export interface AnsweredTest {
  test: TestSetRow;
  rendered: readonly ChatMessage[];
  output: string;
}

/** What a row's answer is worth, by metric, and what speaks against it. */
export interface RowScores {
  scores: Record<string, number>;
  reasons: Record<string, string>;
}

/** Scores by code; judges are asked by `judgeRow`. */
export function scoreByCode(
  metrics: readonly EvaluationMetric[],
  contract: OutputContract | undefined,
  { test, output }: Pick<AnsweredTest, 'test' | 'output'>,
): RowScores {
  const scores: Record<string, number> = {};
  const reasons: Record<string, string> = {};
  for (const metric of metrics) {
    if (metric.kind.case === 'judge' || !appliesTo(metric, test)) continue;
    const name = metricName(metric);
    const { value, reason } = scoreOf(metric, contract, test, output);
    scores[name] = value;
    if (reason) reasons[name] = reason;
  }
  return { scores, reasons };
}

function scoreOf(
  { kind }: EvaluationMetric,
  contract: OutputContract | undefined,
  test: TestSetRow,
  output: string,
): { value: number; reason: string } {
  if (kind.case === 'code') return codeScore(kind.value, output, test.expected);
  if (kind.case === 'contract') {
    const { problems } = contract ? checkOutput(contract, output) : { problems: [] };
    return { value: problems.length === 0 ? 1 : 0, reason: problems.join('; ') };
  }
  const results = test.checks.map((check) => ({ check, ...codeScore(check, output, test.expected) }));
  const missed = results.filter(({ check, value }) => value < (FULL[check.kind.case ?? ''] ?? 1));
  return {
    value: (results.length - missed.length) / results.length,
    reason: missed.map(({ name, reason, value }) => `${name}: ${reason || value.toPrecision(3)}`).join('; '),
  };
}

/** The mark of every judge among the metrics, added to `into`. @throws LandfallError what a judge's deployment says */
export async function judgeRow(
  context: PromptContext,
  metrics: readonly EvaluationMetric[],
  { test, rendered, output }: AnsweredTest,
  call: CallContext,
  into: RowScores,
): Promise<number> {
  let calls = 0;
  for (const metric of metrics) {
    if (metric.kind.case !== 'judge') continue;
    const by = metric.kind.value;
    const question = rendered.map(({ content }) => content).join('\n\n');
    const judged = { question, expected: test.expected, output };
    const { signal } = call;
    const { mark, reason } = await patiently(() => judge(context, by, judged, call, BACKGROUND_PRIORITY), {
      patienceMs: PATIENCE_MS,
      signal,
    });
    calls++;
    const name = metricName(metric);
    if (mark > 0) into.scores[name] = mark;
    into.reasons[name] = mark > 0 ? reason : 'the judge gave no mark';
  }
  return calls;
}

/** Scores of a row that could not be answered: the least of every metric that says something about it. */
export function scoreUnanswered(
  metrics: readonly EvaluationMetric[],
  test: TestSetRow,
): Record<string, number> {
  const scores: Record<string, number> = {};
  for (const metric of metrics) {
    if (appliesTo(metric, test)) scores[metricName(metric)] = metric.kind.case === 'judge' ? 1 : 0;
  }
  return scores;
}
