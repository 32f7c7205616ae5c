import type { EvaluationRoute } from '../../context.ts';
import { watchJob } from '../../jobs/watch-job.ts';
import { optimizationReply } from '../../optimization/optimization-reply.ts';

export const watchOptimization: EvaluationRoute<'watchOptimization'> = (context) =>
  async function* ({ id }, call) {
    for await (const row of watchJob(context, 'optimization', id, call)) {
      yield { optimization: optimizationReply(row) };
    }
  };
