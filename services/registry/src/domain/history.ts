import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { EntityManager } from '@landfall/common/db/database.ts';
import {
  type HistoryEntry,
  HistoryEntrySchema,
} from '@landfall/proto/landfall/registry/v1/life_cycle_service_pb.js';
import { type ModelHistory, ModelHistoryEntity } from '../db/life-entities.ts';
import { findModel } from './find.ts';
import { cut, type Page, type PageRequest } from './lists.ts';
import { DEFAULT_PAGE_SIZE, decodePageToken } from './page-token.ts';

const REVISION = /^[1-9][0-9]{0,15}$/;

/** A model's history, newest first; of one version where it is not ''. Throws NOT_FOUND for a name that is none. */
export async function listHistory(
  em: EntityManager,
  tenant: string,
  name: string,
  version: string,
  page: PageRequest,
): Promise<Page<ModelHistory>> {
  const filters = ['history', name, version];
  const before = decodePageToken(page.pageToken, REVISION, filters);
  const size = page.pageSize || DEFAULT_PAGE_SIZE;
  const { id } = await findModel(em, tenant, name);
  const rows = await em.find(
    ModelHistoryEntity,
    {
      modelId: id,
      ...(version !== '' && { version }),
      ...(before !== undefined && { revision: { $lt: Number(before) } }),
    },
    { orderBy: { revision: 'desc' }, limit: size + 1 },
  );
  return cut(rows, size, ({ revision }) => String(revision), filters);
}

export function historyReply(row: ModelHistory): HistoryEntry {
  const { revision, change, version, alias, actor, detail, atMs } = row;
  const time = timestampFromMs(atMs);
  return create(HistoryEntrySchema, {
    revision: BigInt(revision),
    change,
    version,
    alias,
    actor,
    detail,
    time,
  });
}
