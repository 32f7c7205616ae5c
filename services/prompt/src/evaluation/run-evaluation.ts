import { create, fromJsonString, toJsonString } from '@bufbuild/protobuf';
import type { LandfallError } from '@landfall/common/errors/errors.ts';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import {
  type Evaluation,
  type EvaluationRow,
  EvaluationRowSchema,
  EvaluationSchema,
  type TestSetRow,
} from '@landfall/proto/landfall/prompt/v1/evaluation_pb.js';
import type { PromptContext } from '../context.ts';
import { EvaluationRowEntity } from '../db/evaluation-entities.ts';
import { findVersion } from '../domain/find.ts';
import { type Contents, loadContents } from '../domain/load-parts.ts';
import { atOnce } from '../jobs/at-once.ts';
import { isOfTheRow } from '../jobs/patience.ts';
import { RowWriter } from '../jobs/row-writer.ts';
import type { JobResult, JobRun } from '../jobs/runner.ts';
import { findTestSet, loadRows, parseTestSetRef } from '../test-sets/store.ts';
import { answerTest } from './answer-test.ts';
import { judgeRow, scoreByCode, scoreUnanswered } from './measure-row.ts';
import { writeEvaluation } from './new-evaluation.ts';
import { progressOf, resultsOf } from './results.ts';

const SAVE_EVERY_MS = 500;

/** A row to be answered by a deployment. */
interface Task {
  place: number;
  row: number;
}

/** Answers and measures every row that is not there yet, on every deployment. */
export async function runEvaluation(context: PromptContext, run: JobRun): Promise<JobResult> {
  const { database } = context;
  const { tenant, name, version, id } = run.row;
  const evaluation = fromJsonString(EvaluationSchema, run.row.content);
  const { contents, tests, known } = await database.read(async (em) => {
    const set = parseTestSetRef(run.row.testSet)!;
    return {
      contents: await loadContents(em, (await findVersion(em, tenant, name, version)).version),
      tests: await loadRows(em, await findTestSet(em, tenant, set.name, set.version)),
      known: await em.find(EvaluationRowEntity, { jobId: id }),
    };
  });
  const answered = evaluation.deployments.map(() => new Map<number, EvaluationRow>());
  for (const { place, row, content } of known) {
    answered[place]!.set(row, fromJsonString(EvaluationRowSchema, content));
  }
  const tasks: Task[] = [];
  for (const place of evaluation.deployments.keys()) {
    for (const row of tests.keys()) if (!answered[place]!.has(row)) tasks.push({ place, row });
  }
  const writer = new RowWriter<Task & { content: string }>(database, async (em, rows) => {
    const all = rows.map((row) => ({ jobId: id, ...row }));
    await em.upsertMany(EvaluationRowEntity, all, { onConflictAction: 'ignore' });
  });
  const startMs = Date.now();
  let savedMs = 0;
  const note = () => {
    evaluation.progress = progressOf(tests.length, answered, known.length, startMs);
    evaluation.results = resultsOf(context.config.prices, evaluation, tests, answered);
  };
  try {
    await atOnce(
      tasks,
      { concurrency: evaluation.concurrency, signal: run.call.signal },
      async (task, signal) => {
        const call = { ...run.call, signal };
        const row = await measure(context, evaluation, contents, tests[task.row]!, task, call);
        answered[task.place]!.set(task.row, row);
        writer.add({ ...task, content: toJsonString(EvaluationRowSchema, row) });
        if (Date.now() - savedMs < SAVE_EVERY_MS) return;
        savedMs = Date.now();
        note();
        await run.save(writeEvaluation(evaluation));
      },
    );
  } finally {
    // Left in the middle, what was answered is kept: nobody is asked again.
    await writer.settle();
  }
  note();
  return { content: writeEvaluation(evaluation), metrics: evaluation.results[0]?.metrics ?? {} };
}

async function measure(
  context: PromptContext,
  evaluation: Evaluation,
  contents: Contents,
  test: TestSetRow,
  { place, row }: Task,
  call: CallContext,
): Promise<EvaluationRow> {
  const { metrics, sampling } = evaluation;
  const deployment = evaluation.deployments[place]!;
  const contract = contents.draft.outputContract;
  const beganMs = performance.now();
  try {
    const asking = { deployment, sampling };
    const { rendered, output, usage, model } = await answerTest(context, contents, test, asking, call);
    const durationMs = performance.now() - beganMs;
    const measured = scoreByCode(metrics, contract, { test, output });
    await judgeRow(context, metrics, { test, rendered, output }, call, measured);
    const { inputTokens = 0, outputTokens = 0 } = usage ?? {};
    return create(EvaluationRowSchema, {
      ...{ row, deployment, output, inputTokens, outputTokens, durationMs, model },
      ...measured,
    });
  } catch (error) {
    if (!isOfTheRow(error)) throw error;
    const scores = scoreUnanswered(metrics, test);
    return create(EvaluationRowSchema, { row, deployment, scores, error: (error as LandfallError).message });
  }
}
