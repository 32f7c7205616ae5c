import type { EntityManager } from '@landfall/common/db/database.ts';
import { LockMode } from '@mikro-orm/core';
import { AliasEntity, type Model, ModelEntity, type Version, VersionEntity } from '../db/entities.ts';
import { modelNotFound, versionNotFound } from '../errors.ts';
import { type ModelReference, parseVersionSelector } from './reference.ts';

/** The tenant's model. Throws NOT_FOUND, for another tenant's too. */
export async function findModel(em: EntityManager, tenant: string, name: string): Promise<Model> {
  const model = await em.findOne(ModelEntity, { tenant, name });
  if (!model) throw modelNotFound(name);
  return model;
}

/**
 * The same, held until the transaction ends: whoever adds versions to a model or moves its aliases goes through
 * here, one after the other.
 */
export async function lockModel(em: EntityManager, tenant: string, name: string): Promise<Model> {
  const model = await em.findOne(ModelEntity, { tenant, name }, { lockMode: LockMode.PESSIMISTIC_WRITE });
  if (!model) throw modelNotFound(name);
  return model;
}

/** The tenant's version by SemVer, by `@alias`, or the newest READY one for ''. Throws NOT_FOUND. */
export async function findVersion(
  em: EntityManager,
  tenant: string,
  name: string,
  selector: string,
): Promise<Version> {
  const parsed = parseVersionSelector(selector);
  let version: Version | null;
  if ('version' in parsed) {
    version = await em.findOne(VersionEntity, { tenant, name, version: parsed.version });
    if (!version) await findModel(em, tenant, name);
  } else {
    const model = await findModel(em, tenant, name);
    if ('alias' in parsed) {
      const alias = await em.findOne(AliasEntity, { modelId: model.id, alias: parsed.alias });
      version = alias && (await em.findOne(VersionEntity, { id: alias.versionId }));
    } else {
      version = await em.findOne(
        VersionEntity,
        { modelId: model.id, state: 'ready' },
        { orderBy: { precedence: 'desc' } },
      );
    }
  }
  if (!version) throw versionNotFound(name, selector);
  return version;
}

/** The version held until the transaction ends, so that its files and state stay as they are. Throws NOT_FOUND. */
export async function lockVersion(em: EntityManager, id: string): Promise<Version> {
  return em.findOneOrFail(VersionEntity, { id }, { lockMode: LockMode.PESSIMISTIC_WRITE, refresh: true });
}

/** What a reference points at within the tenant, or null. */
export async function resolveReference(
  em: EntityManager,
  tenant: string,
  { name, version, alias }: ModelReference,
): Promise<Version | null> {
  if (version !== undefined) return em.findOne(VersionEntity, { tenant, name, version });
  const model = await em.findOne(ModelEntity, { tenant, name });
  const found = model && (await em.findOne(AliasEntity, { modelId: model.id, alias: alias! }));
  return found && em.findOne(VersionEntity, { id: found.versionId });
}
