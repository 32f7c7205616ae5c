import { afterKey, page, pageSize } from '@landfall/common/rpc/pages.ts';
import type { EvaluationRoute } from '../../context.ts';
import { OptimizationTryEntity } from '../../db/evaluation-entities.ts';
import { requireRight } from '../../domain/rights.ts';
import { findJob } from '../../jobs/job-store.ts';
import { readTry } from '../../optimization/optimization-reply.ts';

const NUMBER = /^\d{1,9}$/;

export const listOptimizationTries: EvaluationRoute<'listOptimizationTries'> =
  ({ database }) =>
  ({ optimizationId, pageSize: asked, pageToken }, { identity }) =>
    database.read(async (em) => {
      const job = await findJob(em, identity.tenant, 'optimization', optimizationId);
      await requireRight(em, identity, job.name, 'viewer');
      const size = pageSize(asked);
      const after = Number(afterKey(pageToken, NUMBER) ?? -1);
      const where = { jobId: job.id, number: { $gt: after } };
      const found = await em.find(OptimizationTryEntity, where, {
        orderBy: { number: 'asc' },
        limit: size + 1,
      });
      const { rows, nextPageToken } = page(found, size, ({ number }) => String(number));
      return { tries: rows.map(({ content }) => readTry(content)), nextPageToken };
    });
