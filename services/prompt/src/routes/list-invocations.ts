import { afterKey, page, pageSize, UUID } from '@landfall/common/rpc/pages.ts';
import type { Route } from '../context.ts';
import type { InvocationRow } from '../db/entities.ts';
import { searchInvocations } from '../domain/invocation-search.ts';
import { invocationReplies } from '../domain/replies.ts';
import { visibleTo } from '../domain/visibility.ts';

/** Ids are UUIDs of version 7: their order is that of time. */
export const listInvocations: Route<'listInvocations'> =
  ({ database, log }) =>
  async (request, { identity }) => {
    const size = pageSize(request.pageSize);
    const before = afterKey(request.pageToken, UUID);
    // Whoever has seen the end of an answer finds it here. Where the log can't be written, what is there is shown.
    if (!before) await log.settled().catch(() => {});
    return database.read(async (em) => {
      const visible = await visibleTo<InvocationRow>(em, identity);
      const found = await searchInvocations(em, identity.tenant, request, before, size + 1, visible);
      const { rows, nextPageToken } = page(found, size, (row) => row.id);
      return { invocations: await invocationReplies(em, rows), nextPageToken };
    });
  };
