import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { EntityManager } from '@landfall/common/db/database.ts';
import { announce } from '@landfall/common/events/outbox.ts';
import { AliasMovedSchema, ModelReadySchema } from '@landfall/proto/landfall/event/v1/events_pb.js';
import type { Model, Version } from '../db/entities.ts';
import type { AliasMove } from './aliases.ts';
import { formatReference } from './reference.ts';

/** Announces in the transaction of `em` that a version has become READY. */
export async function announceReady(em: EntityManager, source: string, version: Version): Promise<void> {
  const { tenant, name, kind, digest, base, metrics, jobId } = version;
  const payload = create(ModelReadySchema, {
    tenant,
    name,
    version: version.version,
    ref: formatReference(name, version.version),
    kind,
    digest,
    base,
    metrics,
    readyTime: timestampFromMs(version.readyMs!),
    jobId,
  });
  await announce(em, source, {
    subject: 'landfall.registry.model.ready.v1',
    schema: ModelReadySchema,
    payload,
  });
}

/** Announces in the transaction of `em` that an alias has moved. */
export async function announceMove(
  em: EntityManager,
  source: string,
  { tenant, name }: Model,
  alias: string,
  { fromVersion, toVersion, revision }: AliasMove,
): Promise<void> {
  const payload = create(AliasMovedSchema, {
    tenant,
    name,
    alias,
    fromVersion,
    toVersion,
    revision: BigInt(revision),
  });
  await announce(em, source, {
    subject: 'landfall.registry.alias.moved.v1',
    schema: AliasMovedSchema,
    payload,
  });
}
