import type { EntityManager } from '@landfall/common/db/database.ts';
import { type Alias, AliasEntity, type Model } from '../db/entities.ts';
import { aliasMoved, versionIsDraft } from '../errors.ts';
import { findVersion } from './find.ts';
import { checkVersion, formatReference } from './reference.ts';

/** What a move changed: where the alias pointed ('' for nowhere), where it points and its new revision. */
export type AliasMove = { fromVersion: string; toVersion: string; revision: number };

/**
 * Points an alias at a READY version; the model must be locked. Returns undefined when it points there already.
 * Throws ABORTED when `expected` is given and is not where it points.
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
  const revision = (row?.revision ?? 0) + 1;
  const next = { versionId: target.id, version: target.version, revision, movedMs: Date.now() };
  if (row) em.assign(row, next);
  else em.create(AliasEntity, { modelId: model.id, alias, ...next });
  await em.flush();
  return { fromVersion, toVersion: target.version, revision };
}
