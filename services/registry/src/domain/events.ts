import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { EntityManager } from '@landfall/common/db/database.ts';
import { announce } from '@landfall/common/events/outbox.ts';
import {
  AliasMovedSchema,
  ModelReadySchema,
  VersionChangedSchema,
} from '@landfall/proto/landfall/event/v1/events_pb.js';
import type { Model, Version } from '../db/entities.ts';
import { type Change, ModelHistoryEntity } from '../db/life-entities.ts';
import type { AliasMove } from './aliases.ts';
import { formatReference } from './reference.ts';

/** In whose name the registry announces, and who changed something. */
export type Author = { source: string; actor: string };

type Entry = { change: Change; version: string; alias?: string; detail?: string };

/**
 * Writes the next line of a model's history and returns its revision. The model must be locked: so the revisions of
 * a model, and its events in the outbox, come in the order of their transactions.
 */
async function nextRevision(em: EntityManager, model: Model, actor: string, entry: Entry): Promise<number> {
  model.revision++;
  await em.flush();
  const { change, version, alias = '', detail = '' } = entry;
  const row = { modelId: model.id, revision: model.revision, change, version, alias, actor, detail };
  await em.insert(ModelHistoryEntity, { ...row, atMs: Date.now() });
  return model.revision;
}

/** Announces in the transaction of `em` that a version has become READY. The model must be locked. */
export async function announceReady(
  em: EntityManager,
  { source, actor }: Author,
  model: Model,
  version: Version,
): Promise<void> {
  const { tenant, name, kind, digest, base, metrics, jobId } = version;
  const revision = await nextRevision(em, model, actor, { change: 'ready', version: version.version });
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
    modelRevision: BigInt(revision),
  });
  await announce(em, source, {
    subject: 'landfall.registry.model.ready.v1',
    schema: ModelReadySchema,
    payload,
  });
}

/** Announces in the transaction of `em` that an alias has moved or was removed. The model must be locked. */
export async function announceMove(
  em: EntityManager,
  { source, actor }: Author,
  model: Model,
  alias: string,
  { fromVersion, toVersion, revision }: AliasMove,
): Promise<void> {
  const { tenant, name } = model;
  const detail = toVersion === '' ? 'removed' : fromVersion === '' ? '' : `from ${fromVersion}`;
  const version = toVersion || fromVersion;
  const modelRevision = await nextRevision(em, model, actor, {
    change: 'alias.moved',
    version,
    alias,
    detail,
  });
  const payload = create(AliasMovedSchema, {
    tenant,
    name,
    alias,
    fromVersion,
    toVersion,
    revision: BigInt(revision),
    modelRevision: BigInt(modelRevision),
  });
  await announce(em, source, {
    subject: 'landfall.registry.alias.moved.v1',
    schema: AliasMovedSchema,
    payload,
  });
}

/** Announces in the transaction of `em` any other change of a version. The model must be locked. */
export async function announceChange(
  em: EntityManager,
  { source, actor }: Author,
  model: Model,
  version: Version,
  change: Exclude<Change, 'ready' | 'alias.moved'>,
  { detail = '', alias = '' }: { detail?: string; alias?: string } = {},
): Promise<void> {
  const revision = await nextRevision(em, model, actor, { change, version: version.version, detail, alias });
  const { tenant, name, kind, digest, stage, successor } = version;
  const payload = create(VersionChangedSchema, {
    tenant,
    name,
    version: version.version,
    ref: formatReference(name, version.version),
    kind,
    digest,
    modelRevision: BigInt(revision),
    actor,
    reason: detail,
    stage,
    successor,
    time: timestampFromMs(Date.now()),
    ...(version.sunsetMs && { sunsetTime: timestampFromMs(version.sunsetMs) }),
    ...(version.purgeMs && { purgeTime: timestampFromMs(version.purgeMs) }),
  });
  await announce(em, source, {
    subject: `landfall.registry.version.${change}.v1`,
    schema: VersionChangedSchema,
    payload,
  });
}
