import type { EvaluationRoute } from '../../context.ts';
import { evaluationReply } from '../../evaluation/evaluation-reply.ts';
import { cancelJob } from '../../jobs/cancel-job.ts';

export const cancelEvaluation: EvaluationRoute<'cancelEvaluation'> =
  (context) =>
  async ({ id }, call) => ({ evaluation: evaluationReply(await cancelJob(context, 'evaluation', id, call)) });
