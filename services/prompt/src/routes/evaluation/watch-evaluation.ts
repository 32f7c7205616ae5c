import type { EvaluationRoute } from '../../context.ts';
import { evaluationReply } from '../../evaluation/evaluation-reply.ts';
import { watchJob } from '../../jobs/watch-job.ts';

export const watchEvaluation: EvaluationRoute<'watchEvaluation'> = (context) =>
  async function* ({ id }, call) {
    for await (const row of watchJob(context, 'evaluation', id, call))
      yield { evaluation: evaluationReply(row) };
  };
