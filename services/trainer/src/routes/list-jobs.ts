import type { Route } from '../context.ts';
import { JobEntity } from '../db/entities.ts';
import { jobReply, stateName } from '../domain/job-reply.ts';
import { DEFAULT_PAGE_SIZE, decodePageToken, encodePageToken } from '../domain/page-token.ts';

export const listJobs: Route<'listJobs'> =
  ({ database }) =>
  async ({ pageSize, pageToken, state }, { identity }) => {
    const before = decodePageToken(pageToken, state);
    const limit = pageSize || DEFAULT_PAGE_SIZE;
    const only = stateName(state);
    return database.read(async (em) => {
      const where = {
        tenant: identity.tenant,
        ...(only ? { state: only } : {}),
        ...(before ? { id: { $lt: before } } : {}),
      };
      const rows = await em.find(JobEntity, where, { orderBy: { id: 'desc' }, limit: limit + 1 });
      const page = rows.slice(0, limit);
      const jobs = [];
      for (const row of page) jobs.push(await jobReply(em, row));
      const nextPageToken = rows.length > limit ? encodePageToken(page.at(-1)!.id, state) : '';
      return { jobs, nextPageToken };
    });
  };
