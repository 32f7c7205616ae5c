import type { Route } from '../context.ts';
import { PlanEntity } from '../db/plan-entities.ts';
import { DEFAULT_PAGE_SIZE, decodePageToken, encodePageToken } from '../domain/page-token.ts';
import { planReply } from '../plan/store.ts';

/** In the place of a filter: a token of another list is told from one of this. */
const LIST = -1;

export const listTuningPlans: Route<'listTuningPlans'> =
  ({ database }) =>
  async ({ pageSize, pageToken }, { identity }) => {
    const before = decodePageToken(pageToken, LIST);
    const limit = pageSize || DEFAULT_PAGE_SIZE;
    return database.read(async (em) => {
      const where = { tenant: identity.tenant, ...(before ? { id: { $lt: before } } : {}) };
      const rows = await em.find(PlanEntity, where, { orderBy: { id: 'desc' }, limit: limit + 1 });
      const page = rows.slice(0, limit);
      const plans = [];
      for (const row of page) plans.push(await planReply(em, row, { rounds: false }));
      const nextPageToken = rows.length > limit ? encodePageToken(page.at(-1)!.id, LIST) : '';
      return { plans, nextPageToken };
    });
  };
