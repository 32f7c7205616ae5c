import type { Route } from '../context.ts';
import { findPlan, planReply } from '../plan/store.ts';

export const getTuningPlan: Route<'getTuningPlan'> =
  ({ database }) =>
  ({ id }, { identity }) =>
    database.read(async (em) => {
      const row = await findPlan(em, identity.tenant, id);
      return { plan: await planReply(em, row, { rounds: true }) };
    });
