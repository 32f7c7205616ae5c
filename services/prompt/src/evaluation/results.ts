import { create } from '@bufbuild/protobuf';
import {
  type Evaluation,
  type EvaluationResult,
  EvaluationResultSchema,
  type EvaluationRow,
  type JobProgress,
  JobProgressSchema,
  TagResultSchema,
  type TestSetRow,
} from '@landfall/proto/landfall/prompt/v1/evaluation_pb.js';
import { UsageSchema } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import { costOf, type Prices } from '../domain/price.ts';
import { type MeasuredRow, metricsOf } from './aggregate.ts';

/** Answered rows of one deployment, by their number. */
export type Answered = ReadonlyMap<number, EvaluationRow>;

/** @param before answers that were there when the job was taken up */
export function progressOf(
  rows: number,
  answered: readonly Answered[],
  before: number,
  startMs: number,
): JobProgress {
  const total = rows * answered.length;
  const done = answered.reduce((sum, { size }) => sum + size, 0);
  const seconds = (Date.now() - startMs) / 1000;
  const rowsPerSecond = seconds > 0 ? (done - before) / seconds : 0;
  return create(JobProgressSchema, {
    total,
    done,
    percent: total > 0 ? (100 * done) / total : 100,
    rowsPerSecond,
    remainingSeconds: rowsPerSecond > 0 ? (total - done) / rowsPerSecond : -1,
  });
}

/** What each deployment's answers have come to so far. */
export function resultsOf(
  prices: Prices | undefined,
  { deployments, metrics }: Evaluation,
  tests: readonly TestSetRow[],
  answered: readonly Answered[],
): EvaluationResult[] {
  return deployments.map((deployment, place) => {
    const rows = [...answered[place]!.values()].sort((a, b) => a.row - b.row);
    const measured = measuredRows(tests, rows);
    const models = new Set(rows.map(({ model }) => model).filter((model) => model !== ''));
    const times = rows.filter(({ error }) => error === '').map(({ durationMs }) => durationMs);
    times.sort((a, b) => a - b);
    const sum = (of: (row: EvaluationRow) => number) => rows.reduce((total, row) => total + of(row), 0);
    const [inputTokens, outputTokens] = [sum((row) => row.inputTokens), sum((row) => row.outputTokens)];
    const model = [...models].join(', ');
    const cost = costOf(prices, model, create(UsageSchema, { inputTokens, outputTokens }));
    return create(EvaluationResultSchema, {
      ...{ deployment, model, metrics: metricsOf(metrics, measured), rows: rows.length },
      failedRows: rows.filter(({ error }) => error !== '').length,
      tags: tagsOf(measured).map(([tag, own]) =>
        create(TagResultSchema, { tag, rows: own.length, metrics: metricsOf(metrics, own) }),
      ),
      inputTokens: BigInt(inputTokens),
      outputTokens: BigInt(outputTokens),
      p50Ms: quantile(times, 0.5),
      p95Ms: quantile(times, 0.95),
      ...(cost ? { cost } : {}),
    });
  });
}

/** Answers with the rows that they answer. */
export const measuredRows = (tests: readonly TestSetRow[], rows: readonly EvaluationRow[]): MeasuredRow[] =>
  rows.map(({ row, output, scores }) => ({ test: tests[row]!, output, scores }));

function tagsOf(rows: readonly MeasuredRow[]): [string, MeasuredRow[]][] {
  const byTag = new Map<string, MeasuredRow[]>();
  for (const row of rows) {
    for (const tag of row.test.tags) byTag.set(tag, [...(byTag.get(tag) ?? []), row]);
  }
  return [...byTag].sort(([a], [b]) => (a < b ? -1 : 1));
}

/** @param sorted ascending */
const quantile = (sorted: readonly number[], share: number): number =>
  sorted.length > 0 ? sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]! : 0;
