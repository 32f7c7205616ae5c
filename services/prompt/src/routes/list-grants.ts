import { afterKey, page, pageSize } from '@landfall/common/rpc/pages.ts';
import type { AccessRoute } from '../context.ts';
import { GrantSchema } from '../db/access-entities.ts';
import { grantReply, targetReply } from '../domain/access-replies.ts';
import { requireOn } from '../domain/requested-target.ts';
import { standingOn } from '../domain/standing.ts';
import type { Target } from '../domain/targets.ts';

/** Place of the target, and the grantee. */
const KEY = /^\d (everyone|(user|group|key|service):[A-Za-z0-9._@:+-]+)$/;

/** A target has a thousand grants at most and nine folders above it: they are put in order here. */
export const listGrants: AccessRoute<'listGrants'> =
  ({ database }) =>
  ({ pageSize: most, pageToken, target }, { identity }) =>
    database.read(async (em) => {
      const targets = await requireOn(em, identity, target!, 'editor');
      const after = afterKey(pageToken, KEY) ?? '';
      const size = pageSize(most);
      const rows = await em.find(GrantSchema, { tenant: identity.tenant, target: { $in: [...targets] } });
      const key = (row: { target: string; grantee: string }) =>
        `${targets.indexOf(row.target as Target)} ${row.grantee}`;
      const sorted = rows.toSorted((a, b) => (key(a) < key(b) ? -1 : 1));
      const behind = sorted.filter((row) => key(row) > after).slice(0, size + 1);
      const { rows: shown, nextPageToken } = page(behind, size, key);
      const { restrictedBy } = await standingOn(em, identity, targets);
      return {
        grants: shown.map(grantReply),
        nextPageToken,
        ...(restrictedBy ? { restrictedBy: targetReply(restrictedBy) } : {}),
      };
    });
