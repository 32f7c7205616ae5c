import type { EntityManager } from '@landfall/common/db/database.ts';
import { LockMode } from '@mikro-orm/core';
import { AliasEntity, type Model, ModelEntity, type Version, VersionEntity } from '../db/entities.ts';
import { modelNotFound, versionIsDeleted, versionIsDraft, versionNotFound } from '../errors.ts';
import { checkVersion, formatReference, type ModelReference, parseVersionSelector } from './reference.ts';

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
  const model = await em.findOne(
    ModelEntity,
    { tenant, name },
    { lockMode: LockMode.PESSIMISTIC_WRITE, refresh: true },
  );
  if (!model) throw modelNotFound(name);
  return model;
}

/**
 * The tenant's version by SemVer, by `@alias`, or the newest READY one for ''. Throws NOT_FOUND.
 * @param showDeleted whether one that is deleted is found by its number
 */
export async function findVersion(
  em: EntityManager,
  tenant: string,
  name: string,
  selector: string,
  showDeleted = false,
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
        { modelId: model.id, state: 'ready', deletedMs: null },
        { orderBy: { precedence: 'desc' } },
      );
    }
  }
  if (!version) throw versionNotFound(name, selector);
  if (version.deletedMs && !showDeleted) throw versionIsDeleted(version);
  return version;
}

/** The version held until the transaction ends, so that its files and state stay as they are. Throws NOT_FOUND. */
export async function lockVersion(em: EntityManager, id: string): Promise<Version> {
  return em.findOneOrFail(VersionEntity, { id }, { lockMode: LockMode.PESSIMISTIC_WRITE, refresh: true });
}

/** What a reference points at within the tenant, or null; deleted versions are found, too. */
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

/**
 * Versions as they are now, kept from being deleted until the transaction ends: whoever refers to a version holds it,
 * and a deletion looks for what refers to it behind its own lock.
 */
export async function holdVersions(em: EntityManager, versions: readonly Version[]): Promise<Version[]> {
  if (versions.length === 0) return [];
  return em.find(
    VersionEntity,
    { id: { $in: versions.map(({ id }) => id) } },
    { lockMode: LockMode.PESSIMISTIC_READ, refresh: true, orderBy: { id: 'asc' } },
  );
}

/** A model and one of its versions, both held until the transaction ends. Throws NOT_FOUND. */
export async function lockModelVersion(
  em: EntityManager,
  tenant: string,
  name: string,
  version: string,
  showDeleted = false,
): Promise<{ model: Model; version: Version }> {
  const model = await lockModel(em, tenant, name);
  const found = await findVersion(em, tenant, name, checkVersion(version), true);
  const locked = await lockVersion(em, found.id);
  if (locked.deletedMs && !showDeleted) throw versionIsDeleted(locked);
  return { model, version: locked };
}

/** The same for a version that must be READY. Throws FAILED_PRECONDITION for a draft. */
export async function lockReady(em: EntityManager, tenant: string, name: string, version: string) {
  const locked = await lockModelVersion(em, tenant, name, version);
  if (locked.version.state !== 'ready') throw versionIsDraft(formatReference(name, version));
  return locked;
}
