import { toJson } from '@bufbuild/protobuf';
import { StructSchema } from '@bufbuild/protobuf/wkt';
import type { Database, EntityManager } from '@landfall/common/db/database.ts';
import type { Broker } from '@landfall/common/events/broker.ts';
import { EventConsumer } from '@landfall/common/events/consumer.ts';
import type { Logger } from '@landfall/common/log/logger.ts';
import type { DeploymentChanged } from '@landfall/proto/landfall/event/v1/events_pb.js';
import {
  CacheInvalidatedSchema,
  DeploymentChangedSchema,
} from '@landfall/proto/landfall/event/v1/events_pb.js';
import { LockMode } from '@mikro-orm/core';
import { CacheDeploymentSchema } from '../db/cache-entities.ts';
import type { CacheBook } from './cache-book.ts';
import { CACHE_INVALIDATED, invalidate } from './changes.ts';

/** Facts about versions by which their answers are void. */
const VOID = new Set(['model.ready', 'version.deprecated', 'version.deleted', 'version.purged']);

/**
 * Drops answers when what has given them changes: one gateway for all of a database, since the consumers are durable and
 * their effects go through the database; all of them hear of it.
 */
export async function followModels(
  broker: Broker,
  { database, logger, book }: { database: Database; logger: Logger; book: CacheBook },
  running: AsyncDisposableStack,
): Promise<void> {
  const common = { broker, database, logger };
  const consumers = [
    new EventConsumer({
      ...{ ...common, durable: 'gateway-cache-models', subject: 'landfall.registry.>', schema: StructSchema },
      handle: (event, { em, subject }) => modelChanged(em!, subject, toJson(StructSchema, event)),
    }),
    new EventConsumer({
      ...{ ...common, durable: 'gateway-cache-deployments', schema: DeploymentChangedSchema },
      subject: 'landfall.balancer.deployment.changed.v1',
      handle: (event, { em }) => deploymentChanged(em!, event),
    }),
    // Each gateway's own: the database has it, and what is in memory goes at once.
    new EventConsumer({
      ...{ broker, logger, subject: CACHE_INVALIDATED, schema: CacheInvalidatedSchema },
      handle: ({ tenant }) => book.refresh(tenant),
    }),
  ];
  for (const consumer of consumers) await running.use(consumer).start();
}

async function modelChanged(em: EntityManager, subject: string, event: unknown): Promise<void> {
  const { tenant, name, alias, ref } = event as Record<string, unknown>;
  if (typeof tenant !== 'string') return;
  const cause = subject.split('.').slice(2, 4).join('.');
  if (cause === 'alias.moved') await invalidate(em, { tenant, cause, model: `models:/${name}@${alias}` });
  else if (VOID.has(cause)) await invalidate(em, { tenant, cause, model: String(ref) });
}

/**
 * Another generation serves something else, or the same set up in another way; until it is ready, replicas of the one
 * before may answer. That replicas come and go changes no answer.
 */
async function deploymentChanged(em: EntityManager, event: DeploymentChanged): Promise<void> {
  const { tenant, name, state } = event;
  const [generation, revision] = [Number(event.generation), Number(event.revision)];
  // Gateways share the events: the row is held, so that of two that come at once the newer has the last word.
  const first = { tenant, name, generation: 0, settled: true, revision: 0 };
  await em.upsert(CacheDeploymentSchema, first, { onConflictAction: 'ignore' });
  const held = { lockMode: LockMode.PESSIMISTIC_WRITE, refresh: true };
  const known = await em.findOneOrFail(CacheDeploymentSchema, { tenant, name }, held);
  if (known.revision >= revision) return;
  const isReady = state === 'ready';
  const isOther = known.generation !== generation || state === 'stopped';
  const isNowReady = isReady && !known.settled;
  const settled = isReady || (!isOther && known.settled);
  await em.nativeUpdate(CacheDeploymentSchema, { tenant, name }, { generation, settled, revision });
  if (isOther || isNowReady) await invalidate(em, { tenant, cause: 'deployment.changed', model: name });
}
