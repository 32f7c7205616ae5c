import type { Route } from '../context.ts';
import { findVersion } from '../domain/find.ts';
import { versionReply } from '../domain/replies.ts';

export const getVersion: Route<'getVersion'> =
  ({ database }) =>
  ({ name, version, showDeleted }, { identity: { tenant } }) =>
    database.read(async (em) => ({
      version: await versionReply(em, await findVersion(em, tenant, name, version, showDeleted)),
    }));
