import type { EvaluationRoute } from '../../context.ts';
import { cancelJob } from '../../jobs/cancel-job.ts';
import { optimizationReply } from '../../optimization/optimization-reply.ts';

export const cancelOptimization: EvaluationRoute<'cancelOptimization'> =
  (context) =>
  async ({ id }, call) => ({
    optimization: optimizationReply(await cancelJob(context, 'optimization', id, call)),
  });
