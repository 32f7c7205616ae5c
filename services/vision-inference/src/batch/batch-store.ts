import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { Database, EntityManager } from '@landfall/common/db/database.ts';
import { notFound } from '@landfall/common/errors/errors.ts';
import {
  type Batch,
  BatchSchema,
  BatchState,
} from '@landfall/proto/landfall/vision/v1/inspection_service_pb.js';
import { LockMode } from '@mikro-orm/core';
import { BatchEntity, type BatchRow } from '../db/batch-entities.ts';

export const hasEnded = ({ state }: Pick<BatchRow, 'state'>): boolean => state !== BatchState.RUNNING;

/** A tenant's batch. @throws LandfallError NOT_FOUND */
export async function findBatch(em: EntityManager, tenant: string, id: string): Promise<BatchRow> {
  return required(await em.findOne(BatchEntity, { id, tenant }, { refresh: true }), id);
}

/** The same, locked. */
export async function lockBatch(em: EntityManager, tenant: string, id: string): Promise<BatchRow> {
  const lock = { lockMode: LockMode.PESSIMISTIC_WRITE, refresh: true };
  return required(await em.findOne(BatchEntity, { id, tenant }, lock), id);
}

function required(row: BatchRow | null, id: string): BatchRow {
  if (!row) throw notFound(`there is no batch ${id}`, { reason: 'BATCH_NOT_FOUND' });
  return row;
}

export function batchReply(row: BatchRow): Batch {
  const { id, state, profile, profileVersion, dataset, total, done, failed, defective, failure } = row;
  return create(BatchSchema, {
    ...{ id, state, profile, profileVersion, dataset, total, done, failed, defective, failure },
    createTime: timestampFromMs(row.createdMs),
    ...(row.endedMs ? { endTime: timestampFromMs(row.endedMs) } : {}),
  });
}

/** Takes a batch that nobody works on, or whose process has been silent. @returns undefined where another was faster */
export async function claimBatch(
  database: Database,
  id: string,
  owner: string,
  leaseForMs: number,
): Promise<BatchRow | undefined> {
  return database.transaction(async (em) => {
    const row = await em.findOne(BatchEntity, { id }, { lockMode: LockMode.PESSIMISTIC_WRITE });
    const nowMs = Date.now();
    if (!row || hasEnded(row) || (row.owner !== '' && row.leaseMs > nowMs)) return undefined;
    Object.assign(row, { owner, leaseMs: nowMs + leaseForMs });
    await em.flush();
    return row;
  });
}

/** Writes how far a batch is. @returns false where it is not this process's any more, or has ended */
export async function saveBatch(
  database: Database,
  id: string,
  owner: string,
  change: Partial<BatchRow>,
): Promise<boolean> {
  return database.transaction(async (em) => {
    const row = await em.findOne(BatchEntity, { id }, { lockMode: LockMode.PESSIMISTIC_WRITE });
    if (row?.owner !== owner || hasEnded(row)) return false;
    Object.assign(row, change, { revision: row.revision + 1 });
    await em.flush();
    return true;
  });
}
