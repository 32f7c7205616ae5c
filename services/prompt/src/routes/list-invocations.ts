import type { Route } from '../context.ts';
import { InvocationSchema } from '../db/entities.ts';
import { afterKey, page, pageSize } from '../domain/pages.ts';
import { invocationReplies } from '../domain/replies.ts';

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Ids are UUIDs of version 7: their order is that of time. */
export const listInvocations: Route<'listInvocations'> =
  ({ database }) =>
  ({ pageSize: asked, pageToken, name, version, deployment }, { identity: { tenant } }) =>
    database.read(async (em) => {
      const size = pageSize(asked);
      const after = afterKey(pageToken, UUID);
      const where = {
        tenant,
        ...(after ? { id: { $lt: after } } : {}),
        ...(name ? { name } : {}),
        ...(version ? { version } : {}),
        ...(deployment ? { deployment } : {}),
      };
      const found = await em.find(InvocationSchema, where, { orderBy: { id: 'desc' }, limit: size + 1 });
      const { rows, nextPageToken } = page(found, size, (row) => row.id);
      return { invocations: await invocationReplies(em, rows), nextPageToken };
    });
