import { fromJsonString } from '@bufbuild/protobuf';
import type { EntityManager } from '@landfall/common/db/database.ts';
import { EvaluationResultSchema } from '@landfall/proto/landfall/trainer/v1/job_pb.js';
import type { PlanRound } from '@landfall/proto/landfall/trainer/v1/plan_pb.js';
import { type JobRow, PointEntity, type SeriesName } from '../db/entities.ts';
import { hasEnded, readProgress } from '../domain/job-reply.ts';
import { methodName } from '../domain/training-spec.ts';
import { metricsOf } from '../evaluation/results.ts';
import type { RoundEvidence } from './evidence.ts';

/** What a job left by step. */
export interface Curves {
  losses: number[];
  evaluationLosses: number[];
}

/** The curves of a job. */
export async function readCurves(em: EntityManager, { id }: JobRow): Promise<Curves> {
  const values = async (series: SeriesName) => {
    const rows = await em.find(PointEntity, { jobId: id, series }, { orderBy: { step: 'asc' } });
    return rows.map(({ value }) => value);
  };
  return { losses: await values('loss'), evaluationLosses: await values('evaluation_loss') };
}

/** The goal's metric as a job has measured it; undefined where it has not. */
export function measured({ tunedResult }: JobRow, metric: string): number | undefined {
  if (tunedResult === '') return undefined;
  return metricsOf(fromJsonString(EvaluationResultSchema, tunedResult))[metric];
}

/** Writes into a round what its job has come to; done once the job has ended. */
export function noteResult(round: PlanRound, job: JobRow, curves: Curves, metric: string): void {
  const { losses, evaluationLosses } = curves;
  round.value = measured(job, metric) ?? 0;
  round.version = job.outputVersion;
  round.firstLoss = losses[0] ?? 0;
  round.lastLoss = losses.at(-1) ?? 0;
  round.bestEvaluationLoss = evaluationLosses.length > 0 ? Math.min(...evaluationLosses) : 0;
  round.lastEvaluationLoss = evaluationLosses.at(-1) ?? 0;
  round.seconds = job.startedMs ? ((job.endedMs ?? Date.now()) - job.startedMs) / 1000 : 0;
  round.tokens = readProgress(job).tokens;
  round.failure = job.state === 'cancelled' ? 'the job was cancelled' : job.failure;
  round.done = hasEnded(job.state);
}

/** A round that has ended as a decision sees it; one without a job was refused before it had one. */
export function evidenceOf(
  round: PlanRound,
  job: JobRow | undefined,
  { losses, evaluationLosses }: Curves,
  metric: string,
): RoundEvidence {
  const seconds = (fromMs: number | null | undefined, toMs: number | null | undefined) =>
    fromMs && toMs ? Math.max(0, toMs - fromMs) / 1000 : 0;
  return {
    action: round.action,
    method: methodName(round.method),
    config: round.config!,
    dataset: round.trainDataset,
    losses,
    evaluationLosses,
    value: job ? measured(job, metric) : undefined,
    passed: job?.state === 'succeeded',
    failure: round.failure,
    trainSeconds: seconds(job?.startedMs, job?.trainedMs ?? job?.endedMs),
    otherSeconds: seconds(job?.trainedMs, job?.endedMs),
    tokens: Number(round.tokens),
  };
}
