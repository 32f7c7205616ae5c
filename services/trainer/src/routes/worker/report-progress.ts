import type { EntityManager } from '@landfall/common/db/database.ts';
import type { EvaluationResult, SeriesPoint } from '@landfall/proto/landfall/trainer/v1/job_pb.js';
import type { ReportProgressRequest } from '@landfall/proto/landfall/trainer/v1/worker_service_pb.js';
import type { WorkerRoute } from '../../context.ts';
import {
  AnswerEntity,
  type AnswerSide,
  type JobRow,
  PointEntity,
  type SeriesName,
} from '../../db/entities.ts';
import {
  hasEnded,
  readOutcome,
  readProgress,
  writeDetail,
  writeOutcome,
  writeProgress,
  writeResult,
} from '../../domain/job-reply.ts';
import { changed, checkAttempt, lockJob, noteProgress } from '../../domain/job-transitions.ts';
import { jobHasEnded } from '../../errors.ts';

export const reportProgressRoute: WorkerRoute<'reportProgress'> =
  ({ database, changes }) =>
  async (request) => {
    const { jobId, attemptId, progress, baseResult, tunedResult } = request;
    const cancel = await database.transaction(async (em) => {
      const row = await lockJob(em, jobId);
      checkAttempt(row, attemptId);
      if (hasEnded(row.state)) throw jobHasEnded(jobId, row.state);
      if (progress) {
        // A job that is taken up again repeats a part of its way; its percentage waits meanwhile.
        progress.percent = Math.max(progress.percent, readProgress(row).percent);
        row.progress = writeProgress(progress);
        noteProgress(row, progress.stage, progress.step + progress.evaluatedRows);
      }
      if (request.outputVersion !== '') row.outputVersion = request.outputVersion;
      if (request.trained) row.trainedMs ??= Date.now();
      if (baseResult?.model) row.baseResult = writeResult(baseResult);
      if (tunedResult?.model) row.tunedResult = writeResult(tunedResult);
      noteOutcome(row, request);
      await keepPoints(em, jobId, 'loss', request.loss);
      await keepPoints(em, jobId, 'learning_rate', request.learningRate);
      await keepPoints(em, jobId, 'evaluation_loss', request.evaluationLoss);
      await keepAnswers(em, jobId, 'base', baseResult);
      await keepAnswers(em, jobId, 'tuned', tunedResult);
      await keepAnswers(em, jobId, 'safety', request.safetyResult);
      changed(row);
      await em.flush();
      return row.cancelRequested;
    });
    changes.touch(jobId);
    return { cancel };
  };

/** Adds what an attempt has found out to what is known. */
function noteOutcome(row: JobRow, request: ReportProgressRequest): void {
  const { safetyResult, backwardTransfer, stoppedEarly, warnings, estimatedSeconds } = request;
  const outcome = readOutcome(row);
  if (safetyResult?.model) outcome.safetyResult = { ...safetyResult, rowResults: [] };
  if (backwardTransfer.length > 0) {
    outcome.backwardTransfer = backwardTransfer;
    const differences = backwardTransfer.map(({ before, after }) => after - before);
    outcome.backwardTransferMean = differences.reduce((sum, d) => sum + d, 0) / differences.length;
  }
  if (stoppedEarly !== '') outcome.stoppedEarly = stoppedEarly;
  // An attempt that takes a job up again may warn of the same.
  for (const warning of warnings) if (!outcome.warnings.includes(warning)) outcome.warnings.push(warning);
  if (estimatedSeconds > 0) outcome.estimatedSeconds = estimatedSeconds;
  row.outcome = writeOutcome(outcome);
}

async function keepPoints(
  em: EntityManager,
  jobId: string,
  series: SeriesName,
  points: readonly SeriesPoint[],
): Promise<void> {
  if (points.length === 0) return;
  const rows = points.map(({ step, epoch, value }) => ({ jobId, series, step, epoch, value }));
  await em.upsertMany(PointEntity, rows);
}

/** Rows may come in several reports: a message holds only so many. */
async function keepAnswers(
  em: EntityManager,
  jobId: string,
  side: AnswerSide,
  result: EvaluationResult | undefined,
): Promise<void> {
  if (!result || result.rowResults.length === 0) return;
  const rows = result.rowResults.map((answered) => {
    const { row, question, reference, output, bleu } = answered;
    return { jobId, side, row, question, reference, output, bleu, detail: writeDetail(answered) };
  });
  await em.upsertMany(AnswerEntity, rows);
}
