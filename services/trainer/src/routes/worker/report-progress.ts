import type { EntityManager } from '@landfall/common/db/database.ts';
import type { EvaluationResult, SeriesPoint } from '@landfall/proto/landfall/trainer/v1/job_pb.js';
import type { WorkerRoute } from '../../context.ts';
import { AnswerEntity, PointEntity } from '../../db/entities.ts';
import { hasEnded, readProgress, writeProgress, writeResult } from '../../domain/job-reply.ts';
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
      await keepPoints(em, jobId, 'loss', request.loss);
      await keepPoints(em, jobId, 'learning_rate', request.learningRate);
      await keepAnswers(em, jobId, 'base', baseResult);
      await keepAnswers(em, jobId, 'tuned', tunedResult);
      changed(row);
      await em.flush();
      return row.cancelRequested;
    });
    changes.touch(jobId);
    return { cancel };
  };

async function keepPoints(
  em: EntityManager,
  jobId: string,
  series: 'loss' | 'learning_rate',
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
  side: 'base' | 'tuned',
  result: EvaluationResult | undefined,
): Promise<void> {
  if (!result || result.rowResults.length === 0) return;
  const rows = result.rowResults.map(({ row, question, reference, output, bleu }) => ({
    jobId,
    side,
    row,
    question,
    reference,
    output,
    bleu,
  }));
  await em.upsertMany(AnswerEntity, rows);
}
