import type { EvaluationRoute } from '../../context.ts';
import { DriftWatchEntity } from '../../db/evaluation-entities.ts';
import { requireRight } from '../../domain/rights.ts';

/** Safe to repeat by its nature. */
export const deleteDriftWatch: EvaluationRoute<'deleteDriftWatch'> =
  ({ database }) =>
  ({ name, label }, { identity }) =>
    database.transaction(async (em) => {
      await requireRight(em, identity, name, 'editor');
      await em.nativeDelete(DriftWatchEntity, { tenant: identity.tenant, name, label });
      return {};
    });
