import type { EvaluationRoute } from '../../context.ts';
import { evaluationReply } from '../../evaluation/evaluation-reply.ts';
import { listJobs } from '../../jobs/list-jobs.ts';

export const listEvaluations: EvaluationRoute<'listEvaluations'> =
  ({ database }) =>
  async (request, { identity }) => {
    const { rows, nextPageToken } = await database.read((em) =>
      listJobs(em, identity, 'evaluation', request),
    );
    return { evaluations: rows.map(evaluationReply), nextPageToken };
  };
