import type { EvaluationRoute } from '../../context.ts';
import { requireRight } from '../../domain/rights.ts';
import { findWatch, readWatch } from '../../drift/watch-store.ts';

export const getDriftWatch: EvaluationRoute<'getDriftWatch'> =
  ({ database }) =>
  ({ name, label }, { identity }) =>
    database.read(async (em) => {
      await requireRight(em, identity, name, 'viewer');
      return { watch: readWatch(await findWatch(em, identity.tenant, name, label)) };
    });
