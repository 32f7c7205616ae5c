import type { EvaluationRoute } from '../../context.ts';
import { requireRight } from '../../domain/rights.ts';
import { evaluationReply } from '../../evaluation/evaluation-reply.ts';
import { findJob } from '../../jobs/job-store.ts';

export const getEvaluation: EvaluationRoute<'getEvaluation'> =
  ({ database }) =>
  ({ id }, { identity }) =>
    database.read(async (em) => {
      const row = await findJob(em, identity.tenant, 'evaluation', id);
      await requireRight(em, identity, row.name, 'viewer');
      return { evaluation: evaluationReply(row) };
    });
