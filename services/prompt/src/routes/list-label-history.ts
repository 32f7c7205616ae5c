import { afterKey, page, pageSize } from '@landfall/common/rpc/pages.ts';
import type { AccessRoute } from '../context.ts';
import { LabelHistorySchema } from '../db/access-entities.ts';
import { historyReply } from '../domain/access-replies.ts';
import { requireRight } from '../domain/rights.ts';

const REVISION = /^[1-9]\d{0,14}$/;

export const listLabelHistory: AccessRoute<'listLabelHistory'> =
  ({ database }) =>
  ({ pageSize: most, pageToken, name, label }, { identity }) =>
    database.read(async (em) => {
      const size = pageSize(most);
      const before = afterKey(pageToken, REVISION);
      const { tenant } = await requireRight(em, identity, name, 'viewer');
      const where = { tenant, name, label, ...(before ? { revision: { $lt: Number(before) } } : {}) };
      const order = { orderBy: { revision: 'desc' }, limit: size + 1 } as const;
      const found = await em.find(LabelHistorySchema, where, order);
      const { rows, nextPageToken } = page(found, size, (row) => `${row.revision}`);
      return { entries: rows.map(historyReply), nextPageToken };
    });
