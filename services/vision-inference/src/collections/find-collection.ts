import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { EntityManager } from '@landfall/common/db/database.ts';
import { failedPrecondition } from '@landfall/common/errors/errors.ts';
import { type Collection, CollectionSchema } from '@landfall/proto/landfall/vision/v1/collection_pb.js';
import { LockMode } from '@mikro-orm/core';
import { CollectionEntity, type CollectionRow } from '../db/collection-entities.ts';
import { collectionNotFound } from '../errors.ts';

/** @throws LandfallError NOT_FOUND, for another tenant's as for none */
export async function findCollection(
  em: EntityManager,
  tenant: string,
  name: string,
): Promise<CollectionRow> {
  const row = await em.findOne(CollectionEntity, { tenant, name });
  if (!row) throw collectionNotFound(name);
  return row;
}

/** The same, held until the transaction ends: changes of a collection come one after the other. */
export async function lockCollection(
  em: EntityManager,
  tenant: string,
  name: string,
): Promise<CollectionRow> {
  const row = await em.findOne(
    CollectionEntity,
    { tenant, name },
    { lockMode: LockMode.PESSIMISTIC_WRITE, refresh: true },
  );
  if (!row) throw collectionNotFound(name);
  return row;
}

/**
 * Vectors of two models are not alike, though they may be as long: after an alias has moved to a newly trained version,
 * what Embed gives belongs into a new collection.
 * @param vectorModel that made vectors that are brought along; empty where it was not said
 * @throws LandfallError FAILED_PRECONDITION
 */
export function requireOwnModel({ name, model }: CollectionRow, vectorModel: string): void {
  if (vectorModel === '' || model === '' || vectorModel === model) return;
  throw failedPrecondition(
    `collection '${name}' holds vectors of ${model}, and these are of ${vectorModel}: embed with ${model}, or make a ` +
      'new collection with the other model and put its entries again',
    { reason: 'OTHER_MODEL' },
  );
}

export function collectionReply(row: CollectionRow): Collection {
  const { name, model, dimensions, description, author } = row;
  return create(CollectionSchema, {
    ...{ name, model, dimensions, description, author },
    entries: BigInt(row.entries),
    createTime: timestampFromMs(row.createdMs),
  });
}
