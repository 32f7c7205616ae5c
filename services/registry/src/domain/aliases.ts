import type { EntityManager } from '@landfall/common/db/database.ts';
import { type Alias, AliasEntity, type Model } from '../db/entities.ts';
import { RemovedAliasEntity } from '../db/life-entities.ts';
import { aliasMoved, aliasNotFound, gatesMissed, versionIsDraft } from '../errors.ts';
import { findVersion } from './find.ts';
import { checkGates } from './gates.ts';
import { checkVersion, formatReference } from './reference.ts';

/** What a move changed: where the alias pointed ('' for nowhere), where it points and its new revision. */
export type AliasMove = { fromVersion: string; toVersion: string; revision: number };

/**
 * Points an alias at a READY version; the model must be locked. Returns undefined when it points there already.
 * Throws ABORTED when `expected` is given and is not where it points, FAILED_PRECONDITION with the gates that the
 * version misses.
 */
export async function moveAlias(
  em: EntityManager,
  model: Model,
  alias: string,
  version: string,
  expected: string,
): Promise<AliasMove | undefined> {
  const target = await findVersion(em, model.tenant, model.name, checkVersion(version));
  if (target.state !== 'ready') throw versionIsDraft(formatReference(model.name, version));
  const row: Alias | null = await em.findOne(AliasEntity, { modelId: model.id, alias });
  const fromVersion = row?.version ?? '';
  if (expected !== '' && expected !== fromVersion) throw aliasMoved(alias, expected, fromVersion);
  if (fromVersion === target.version) return undefined;
  const missed = (await checkGates(em, target, alias)).filter(({ passed }) => !passed);
  if (missed.length > 0) throw gatesMissed(formatReference(model.name, version), alias, missed);
  const before = row ?? (await em.findOne(RemovedAliasEntity, { modelId: model.id, alias }));
  const revision = (before?.revision ?? 0) + 1;
  const next = { versionId: target.id, version: target.version, revision, movedMs: Date.now() };
  if (row) em.assign(row, next);
  else em.create(AliasEntity, { modelId: model.id, alias, ...next });
  await em.flush();
  return { fromVersion, toVersion: target.version, revision };
}

/** Takes an alias away; the model must be locked. Throws NOT_FOUND, and ABORTED as moveAlias does. */
export async function removeAlias(
  em: EntityManager,
  model: Model,
  alias: string,
  expected: string,
): Promise<AliasMove> {
  const row = await em.findOne(AliasEntity, { modelId: model.id, alias });
  if (!row) throw aliasNotFound(model.name, alias);
  if (expected !== '' && expected !== row.version) throw aliasMoved(alias, expected, row.version);
  const revision = row.revision + 1;
  await em.upsert(RemovedAliasEntity, { modelId: model.id, alias, revision });
  await em.remove(row).flush();
  return { fromVersion: row.version, toVersion: '', revision };
}
