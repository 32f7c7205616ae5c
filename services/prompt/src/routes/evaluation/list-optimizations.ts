import type { EvaluationRoute } from '../../context.ts';
import { listJobs } from '../../jobs/list-jobs.ts';
import { optimizationReply } from '../../optimization/optimization-reply.ts';

export const listOptimizations: EvaluationRoute<'listOptimizations'> =
  ({ database }) =>
  async (request, { identity }) => {
    const { rows, nextPageToken } = await database.read((em) =>
      listJobs(em, identity, 'optimization', request),
    );
    return { optimizations: rows.map(optimizationReply), nextPageToken };
  };
