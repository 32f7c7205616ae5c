import { afterKey, page, pageSize } from '@landfall/common/rpc/pages.ts';
import type { ExperimentRoute } from '../../context.ts';
import { ExperimentSchema } from '../../db/experiment-entities.ts';
import { experimentReply, readExperiment } from '../../domain/experiments.ts';
import { requireRight } from '../../domain/rights.ts';

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export const listExperiments: ExperimentRoute<'listExperiments'> =
  ({ database }) =>
  ({ name, pageSize: asked, pageToken }, { identity }) =>
    database.read(async (em) => {
      await requireRight(em, identity, name, 'viewer');
      const size = pageSize(asked);
      const before = afterKey(pageToken, UUID);
      const where = { tenant: identity.tenant, name, ...(before ? { id: { $lt: before } } : {}) };
      const found = await em.find(ExperimentSchema, where, { orderBy: { id: 'desc' }, limit: size + 1 });
      const { rows, nextPageToken } = page(found, size, (row) => row.id);
      return { experiments: rows.map((row) => experimentReply(readExperiment(row))), nextPageToken };
    });
