import type { LifeRoute } from '../context.ts';
import { findVersion } from '../domain/find.ts';
import { checkGates as gatesOf } from '../domain/gates.ts';
import { formatReference } from '../domain/reference.ts';
import { versionIsDraft } from '../errors.ts';

export const checkGates: LifeRoute<'checkGates'> =
  ({ database }) =>
  ({ name, version, alias }, { identity: { tenant } }) =>
    database.read(async (em) => {
      const found = await findVersion(em, tenant, name, version);
      if (found.state !== 'ready') throw versionIsDraft(formatReference(name, found.version));
      const results = await gatesOf(em, found, alias);
      return { passed: results.every(({ passed }) => passed), results };
    });
