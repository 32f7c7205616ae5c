import type { EntityManager } from '@landfall/common/db/database.ts';
import type { Identity } from '@landfall/common/identity/identity.ts';
import { afterKey, page, pageSize } from '@landfall/common/rpc/pages.ts';
import type { JobState } from '@landfall/proto/landfall/prompt/v1/evaluation_pb.js';
import type { FilterQuery } from '@mikro-orm/core';
import { JobEntity, type JobKind, type JobRow } from '../db/evaluation-entities.ts';
import { visibleTo } from '../domain/visibility.ts';
import { stateName } from './job-store.ts';

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Which jobs are asked for. */
export interface JobFilter {
  pageSize: number;
  pageToken: string;
  name: string;
  version?: string;
  state: JobState;
}

/** One page of the jobs of prompts that the caller may know of, the newest first. */
export async function listJobs(
  em: EntityManager,
  identity: Identity,
  kind: JobKind,
  filter: JobFilter,
): Promise<{ rows: JobRow[]; nextPageToken: string }> {
  const size = pageSize(filter.pageSize);
  const before = afterKey(filter.pageToken, UUID);
  const state = stateName(filter.state);
  const where: FilterQuery<JobRow> = {
    ...{ tenant: identity.tenant, kind },
    ...(filter.name ? { name: filter.name } : {}),
    ...(filter.version ? { version: filter.version } : {}),
    ...(state ? { state } : {}),
    ...(before ? { id: { $lt: before } } : {}),
  };
  const visible = await visibleTo<JobRow>(em, identity);
  const all = visible ? ({ $and: [where, visible] } as FilterQuery<JobRow>) : where;
  const found = await em.find(JobEntity, all, { orderBy: { id: 'desc' }, limit: size + 1 });
  return page(found, size, (row) => row.id);
}
