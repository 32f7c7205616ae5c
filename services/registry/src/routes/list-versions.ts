import type { Route } from '../context.ts';
import { listVersions as list } from '../domain/lists.ts';
import { kindName, stateName, versionReplies } from '../domain/replies.ts';

export const listVersions: Route<'listVersions'> =
  ({ database }) =>
  ({ name, base, kind, state, ...page }, { identity: { tenant } }) =>
    database.read(async (em) => {
      const filter = { name, base, kind: kindName(kind), state: stateName(state) };
      const { rows, nextPageToken } = await list(em, tenant, filter, page);
      return { versions: await versionReplies(em, rows), nextPageToken };
    });
