import type { CatalogRoute } from '../context.ts';
import { compareVersions as compare } from '../domain/compare.ts';
import { versionReplies } from '../domain/replies.ts';

export const compareVersions: CatalogRoute<'compareVersions'> =
  ({ database }) =>
  ({ refs }, { identity: { tenant } }) =>
    database.read(async (em) => {
      const { versions, ...comparison } = await compare(em, tenant, refs);
      return { ...comparison, versions: await versionReplies(em, versions, { files: false }) };
    });
