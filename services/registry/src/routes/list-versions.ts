import { VersionState } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import type { Route } from '../context.ts';
import { listVersions as list } from '../domain/lists.ts';
import { kindName, stateName, versionReplies } from '../domain/replies.ts';

export const listVersions: Route<'listVersions'> =
  ({ database }) =>
  ({ name, base, kind, state, showDeleted, ...page }, { identity: { tenant } }) =>
    database.read(async (em) => {
      const show = state === VersionState.DELETED ? 'deleted' : showDeleted ? 'all' : 'live';
      const filter = { name, base, kind: kindName(kind), state: stateName(state), show } as const;
      const { rows, nextPageToken } = await list(em, tenant, filter, page);
      return { versions: await versionReplies(em, rows), nextPageToken };
    });
