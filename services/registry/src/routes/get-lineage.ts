import type { Route } from '../context.ts';
import { findVersion } from '../domain/find.ts';
import { lineageGraph } from '../domain/lineage.ts';

export const getLineage: Route<'getLineage'> =
  ({ database }) =>
  ({ name, version }, { identity: { tenant } }) =>
    database.read(async (em) => lineageGraph(em, await findVersion(em, tenant, name, version)));
