import type { LifeRoute } from '../context.ts';
import { historyReply, listHistory as list } from '../domain/history.ts';

export const listHistory: LifeRoute<'listHistory'> =
  ({ database }) =>
  ({ name, version, ...page }, { identity: { tenant } }) =>
    database.read(async (em) => {
      const { rows, nextPageToken } = await list(em, tenant, name, version, page);
      return { entries: rows.map(historyReply), nextPageToken };
    });
