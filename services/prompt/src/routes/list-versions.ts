import { afterKey, page, pageSize } from '@landfall/common/rpc/pages.ts';
import type { Route } from '../context.ts';
import { VersionSchema } from '../db/entities.ts';
import { versionReplies } from '../domain/replies.ts';
import { requireRight } from '../domain/rights.ts';

/** Time in milliseconds and number: two versions of one moment are told apart. */
const KEY = /^[0-9]{1,15}:[0-9A-Za-z.+-]{1,64}$/;

export const listVersions: Route<'listVersions'> =
  ({ database }) =>
  ({ name, pageSize: asked, pageToken }, { identity }) =>
    database.read(async (em) => {
      const size = pageSize(asked);
      const before = afterKey(pageToken, KEY);
      const { tenant } = await requireRight(em, identity, name, 'viewer');
      const [time, number] = before?.split(':') ?? [];
      const earlier = before
        ? {
            $or: [
              { createdMs: { $lt: Number(time) } },
              { createdMs: Number(time), version: { $lt: number! } },
            ],
          }
        : {};
      const found = await em.find(
        VersionSchema,
        { tenant, name, ...earlier },
        { orderBy: { createdMs: 'desc', version: 'desc' }, limit: size + 1 },
      );
      const { rows, nextPageToken } = page(found, size, (row) => `${row.createdMs}:${row.version}`);
      const versions = await versionReplies(em, rows);
      for (const version of versions) Object.assign(version, { messages: [], fewShot: undefined, tests: [] });
      return { versions, nextPageToken };
    });
