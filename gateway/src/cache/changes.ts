import { create } from '@bufbuild/protobuf';
import type { EntityManager } from '@landfall/common/db/database.ts';
import { announce } from '@landfall/common/events/outbox.ts';
import { CacheInvalidatedSchema } from '@landfall/proto/landfall/event/v1/events_pb.js';
import { raw } from '@mikro-orm/core';
import {
  CachedAnswerSchema,
  CacheInvalidationSchema,
  CachePolicySchema,
  CacheTenantSchema,
} from '../db/cache-entities.ts';

export const CACHE_INVALIDATED = 'landfall.gateway.cache.invalidated.v1';

/** What made answers void. */
export interface Invalidation {
  tenant: string;
  /** As CacheInvalidated tells it. */
  cause: string;
  /** A deployment, `models:/name@alias` or `models:/name/version`; empty for all. */
  model: string;
}

/**
 * The number of a change of what a tenant keeps. Changes of one tenant are made one after the other, over all gateways:
 * whoever has taken a number holds the row until the end of the transaction.
 */
export async function nextRevision(em: EntityManager, tenant: string): Promise<number> {
  await em.upsert(CacheTenantSchema, { tenant, revision: 0 }, { onConflictAction: 'ignore' });
  await em.nativeUpdate(CacheTenantSchema, { tenant }, { revision: raw('revision + 1') });
  return (await em.findOneOrFail(CacheTenantSchema, { tenant }, { refresh: true })).revision;
}

/**
 * Drops answers, and sees to it that none is kept whose making began before: in the transaction of `em`, which also
 * announces it to all gateways. A tenant that has never kept any has none to drop.
 * @returns how many were dropped
 */
export async function invalidate(em: EntityManager, { tenant, cause, model }: Invalidation): Promise<number> {
  if ((await em.count(CachePolicySchema, { tenant })) === 0) return 0;
  const revision = await nextRevision(em, tenant);
  const any = model === '' ? {} : { $or: [{ asked: model }, { model }] };
  const entries = await em.nativeDelete(CachedAnswerSchema, { tenant, ...any });
  await em.insert(CacheInvalidationSchema, { tenant, revision, model, madeMs: Date.now() });
  await announce(em, 'gateway', {
    subject: CACHE_INVALIDATED,
    schema: CacheInvalidatedSchema,
    payload: create(CacheInvalidatedSchema, {
      ...{ tenant, cause, model },
      entries: BigInt(entries),
      revision: BigInt(revision),
    }),
  });
  return entries;
}
