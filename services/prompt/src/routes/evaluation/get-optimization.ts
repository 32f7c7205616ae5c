import type { EvaluationRoute } from '../../context.ts';
import { requireRight } from '../../domain/rights.ts';
import { findJob } from '../../jobs/job-store.ts';
import { optimizationReply } from '../../optimization/optimization-reply.ts';

export const getOptimization: EvaluationRoute<'getOptimization'> =
  ({ database }) =>
  ({ id }, { identity }) =>
    database.read(async (em) => {
      const row = await findJob(em, identity.tenant, 'optimization', id);
      await requireRight(em, identity, row.name, 'viewer');
      return { optimization: optimizationReply(row) };
    });
