import { create, fromJsonString, type Message, toJsonString } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { EntityManager } from '@landfall/common/db/database.ts';
import {
  type EvaluationResult,
  EvaluationResultSchema,
  type EvaluationRow,
  EvaluationRowSchema,
  type Job,
  JobSchema,
  type JobSpec,
  JobSpecSchema,
  JobState,
  type Progress,
  ProgressSchema,
  type SeriesPoint,
  SeriesPointSchema,
} from '@landfall/proto/landfall/trainer/v1/job_pb.js';
import {
  AnswerEntity,
  type AnswerSide,
  type JobRow,
  type JobStateName,
  PointEntity,
  type SeriesName,
} from '../db/entities.ts';

const STATES: Record<JobStateName, JobState> = {
  queued: JobState.QUEUED,
  running: JobState.RUNNING,
  succeeded: JobState.SUCCEEDED,
  failed: JobState.FAILED,
  cancelled: JobState.CANCELLED,
};

/** The stored name of a state; undefined for JOB_STATE_UNSPECIFIED. */
export function stateName(state: JobState): JobStateName | undefined {
  return (Object.keys(STATES) as JobStateName[]).find((name) => STATES[name] === state);
}

/** True when nothing will happen to the job any more. */
export function hasEnded(state: JobStateName): boolean {
  return state === 'succeeded' || state === 'failed' || state === 'cancelled';
}

export const readSpec = (row: JobRow): JobSpec => fromJsonString(JobSpecSchema, row.spec);
export const writeSpec = (spec: JobSpec): string => toJsonString(JobSpecSchema, spec);
export const readProgress = (row: JobRow): Progress =>
  row.progress === '' ? create(ProgressSchema) : fromJsonString(ProgressSchema, row.progress);
export const writeProgress = (progress: Progress): string => toJsonString(ProgressSchema, progress);
const readResult = (text: string): EvaluationResult | undefined =>
  text === '' ? undefined : fromJsonString(EvaluationResultSchema, text);

/** A Job that holds only what it found out beside scores. */
export const readOutcome = (row: JobRow): Job =>
  row.outcome === '' ? create(JobSchema) : fromJsonString(JobSchema, row.outcome);
export const writeOutcome = (outcome: Job): string => toJsonString(JobSchema, outcome);

/** What of a job's lists is wanted. */
export interface JobParts {
  /** Points of the series behind these steps; absent: no points. */
  pointsAfter?: { loss: number; learningRate: number; evaluationLoss: number };
  /** Rows of both evaluations. */
  rows?: boolean;
}

/** A job as its contract shows it. */
export async function jobReply(em: EntityManager, row: JobRow, parts: JobParts = {}): Promise<Job> {
  const after = parts.pointsAfter;
  const [baseResult, tunedResult] = [readResult(row.baseResult), readResult(row.tunedResult)];
  const outcome = readOutcome(row);
  if (parts.rows) {
    if (baseResult) baseResult.rowResults = await answers(em, row.id, 'base');
    if (tunedResult) tunedResult.rowResults = await answers(em, row.id, 'tuned');
    if (outcome.safetyResult) outcome.safetyResult.rowResults = await answers(em, row.id, 'safety');
  }
  return create(JobSchema, {
    ...outcome,
    id: row.id,
    spec: readSpec(row),
    state: STATES[row.state],
    progress: liveProgress(row),
    loss: after ? await points(em, row.id, 'loss', after.loss) : [],
    learningRate: after ? await points(em, row.id, 'learning_rate', after.learningRate) : [],
    evaluationLoss: after ? await points(em, row.id, 'evaluation_loss', after.evaluationLoss) : [],
    failure: row.failure,
    outputVersion: row.outputVersion,
    attempts: row.attempts,
    revision: BigInt(row.revision),
    createTime: timestampFromMs(row.createdMs),
    ...(baseResult ? { baseResult } : {}),
    ...(tunedResult ? { tunedResult } : {}),
    ...(row.startedMs ? { startTime: timestampFromMs(row.startedMs) } : {}),
    ...(row.trainedMs ? { trainedTime: timestampFromMs(row.trainedMs) } : {}),
    ...(row.endedMs ? { endTime: timestampFromMs(row.endedMs) } : {}),
  });
}

/** Elapsed time is the job's and not one attempt's, so it is counted here. */
function liveProgress(row: JobRow): Progress {
  const progress = readProgress(row);
  if (row.startedMs) {
    progress.elapsedSeconds = ((row.endedMs ?? Date.now()) - row.startedMs) / 1000;
  }
  if (row.state === 'succeeded') progress.percent = 100;
  if (hasEnded(row.state)) progress.remainingSeconds = 0;
  else if (row.state === 'queued') progress.remainingSeconds = -1;
  return progress;
}

async function points(
  em: EntityManager,
  jobId: string,
  series: SeriesName,
  after: number,
): Promise<SeriesPoint[]> {
  const where = { jobId, series, step: { $gt: after } };
  const rows = await em.find(PointEntity, where, { orderBy: { step: 'asc' } });
  return rows.map(({ step, epoch, value }) => create(SeriesPointSchema, { step, epoch, value }));
}

async function answers(em: EntityManager, jobId: string, side: AnswerSide) {
  const rows = await em.find(AnswerEntity, { jobId, side }, { orderBy: { row: 'asc' } });
  return rows.map(({ row, question, reference, output, bleu, detail }) => {
    const other = detail === '' ? {} : fromJsonString(EvaluationRowSchema, detail);
    return create(EvaluationRowSchema, { ...other, row, question, reference, output, bleu });
  });
}

/** A row's measures that have no column of their own. */
export function writeDetail(row: EvaluationRow): string {
  const { rougeL, judge, exact, category, verdict } = row;
  return toJsonString(
    EvaluationRowSchema,
    create(EvaluationRowSchema, { rougeL, judge, exact, category, verdict }),
  );
}

/** A message without what is kept in a table of its own. */
export function writeResult(result: EvaluationResult): string {
  const summary: Message & EvaluationResult = { ...result, rowResults: [] };
  return toJsonString(EvaluationResultSchema, summary);
}
