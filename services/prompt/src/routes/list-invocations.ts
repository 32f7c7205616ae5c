import type { Route } from '../context.ts';
import { searchInvocations } from '../domain/invocation-search.ts';
import { afterKey, page, pageSize } from '../domain/pages.ts';
import { invocationReplies } from '../domain/replies.ts';

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Ids are UUIDs of version 7: their order is that of time. */
export const listInvocations: Route<'listInvocations'> =
  ({ database, log }) =>
  async (request, { identity: { tenant } }) => {
    const size = pageSize(request.pageSize);
    const before = afterKey(request.pageToken, UUID);
    // Whoever has seen the end of an answer finds it here. Where the log can't be written, what is there is shown.
    if (!before) await log.settled().catch(() => {});
    return database.read(async (em) => {
      const found = await searchInvocations(em, tenant, request, before, size + 1);
      const { rows, nextPageToken } = page(found, size, (row) => row.id);
      return { invocations: await invocationReplies(em, rows), nextPageToken };
    });
  };
