import type { CatalogRoute } from '../context.ts';
import { versionReplies } from '../domain/replies.ts';
import { searchVersions as search } from '../domain/search.ts';

export const searchVersions: CatalogRoute<'searchVersions'> =
  ({ database }) =>
  (request, { identity: { tenant } }) =>
    database.read(async (em) => {
      const { rows, nextPageToken } = await search(em, tenant, request);
      return { versions: await versionReplies(em, rows, { files: false }), nextPageToken };
    });
