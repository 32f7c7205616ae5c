import type { EntityManager } from '@landfall/common/db/database.ts';
import {
  AliasEntity,
  type Version,
  VersionDatasetEntity,
  VersionEntity,
  VersionFileEntity,
} from '../db/entities.ts';
import { DeploymentUseEntity } from '../db/life-entities.ts';
import { originsDeleted, versionInUse, versionIsPurged } from '../errors.ts';
import { forgetVersion } from './catalog.ts';
import { holdVersions } from './find.ts';
import { findByRefs } from './origins.ts';
import { formatReference } from './reference.ts';

/** How many users a refusal names. */
const MAX_USERS = 20;

/** What uses a version, for people: an alias, a version made from it, a deployment that runs it. */
export type Use = { user: string; how: string };

/** Everything that keeps a version from being deleted; at most 20 of each sort. */
export async function usesOf(em: EntityManager, version: Version): Promise<Use[]> {
  const { tenant, id, name } = version;
  const ref = formatReference(name, version.version);
  const limit = { limit: MAX_USERS } as const;
  const aliases = await em.find(AliasEntity, { versionId: id }, limit);
  const children = await em.find(
    VersionEntity,
    { tenant, deletedMs: null, $or: [{ base: ref }, { parent: ref }] },
    limit,
  );
  const trained = await em.find(VersionDatasetEntity, { tenant, ref });
  const trainees = await em.find(
    VersionEntity,
    { id: { $in: trained.map(({ versionId }) => versionId) }, deletedMs: null },
    limit,
  );
  return [
    ...aliases.map(({ alias }) => ({ user: `models:/${name}@${alias}`, how: 'an alias that points at it' })),
    ...[...new Set([...children, ...trainees])].map((child) => ({
      user: formatReference(child.name, child.version),
      how: child.state === 'ready' ? 'made from it' : 'a draft that names it',
    })),
    ...(await deploymentsOf(em, tenant, ref)),
  ];
}

async function deploymentsOf(em: EntityManager, tenant: string, model: string): Promise<Use[]> {
  const rows = await em.find(
    DeploymentUseEntity,
    { tenant, model, state: { $ne: 'stopped' } },
    { limit: MAX_USERS },
  );
  return rows.map(({ name, state }) => ({ user: `deployments:/${name}`, how: `runs it, ${state}` }));
}

/**
 * Deletes a locked version, restorable for `keepMs`. Returns whether it was there until now. Throws
 * FAILED_PRECONDITION while something uses it.
 */
export async function markDeleted(em: EntityManager, version: Version, keepMs: number): Promise<boolean> {
  if (version.deletedMs) return false;
  const uses = await usesOf(em, version);
  if (uses.length > 0) throw versionInUse(formatReference(version.name, version.version), uses);
  version.deletedMs = Date.now();
  version.purgeMs = version.deletedMs + keepMs;
  await em.flush();
  return true;
}

/**
 * Takes the deletion of a locked version back. Returns whether it was deleted until now. Throws FAILED_PRECONDITION
 * when its content is gone or when it was made from what is deleted.
 */
export async function unmarkDeleted(em: EntityManager, version: Version): Promise<boolean> {
  const ref = formatReference(version.name, version.version);
  if (version.purgedMs) throw versionIsPurged(ref);
  if (!version.deletedMs) return false;
  const datasets = await em.find(VersionDatasetEntity, { versionId: version.id });
  const refs = [version.base, version.parent, ...datasets.map((row) => row.ref)].filter((one) => one !== '');
  const origins = await holdVersions(em, await findByRefs(em, version.tenant, refs));
  const gone = origins.filter(({ deletedMs }) => deletedMs);
  if (gone.length > 0) {
    throw originsDeleted(
      ref,
      gone.map(({ name, version: number }) => formatReference(name, number)),
    );
  }
  version.deletedMs = null;
  version.purgeMs = null;
  await em.flush();
  return true;
}

/** Deleted versions whose time to be restored is over. */
export async function duePurges(em: EntityManager, limit: number): Promise<Version[]> {
  return em.find(VersionEntity, { purgeMs: { $lte: Date.now() } }, { orderBy: { purgeMs: 'asc' }, limit });
}

/**
 * Lets go of the files of a locked version that is deleted and due; the row stays, so that its number never stands
 * for other content. Returns the digests that it no longer refers to, or undefined where it is not to be purged (any
 * more): it was restored, or a deployment that began while it was being deleted still runs it.
 */
export async function purgeVersion(em: EntityManager, version: Version): Promise<string[] | undefined> {
  if (!version.purgeMs || version.purgeMs > Date.now()) return undefined;
  const ref = formatReference(version.name, version.version);
  if ((await deploymentsOf(em, version.tenant, ref)).length > 0) return undefined;
  const files = await em.find(VersionFileEntity, { versionId: version.id });
  await em.nativeDelete(VersionFileEntity, { versionId: version.id });
  await forgetVersion(em, version.id);
  version.purgeMs = null;
  version.purgedMs = Date.now();
  await em.flush();
  return files.map(({ digest }) => digest);
}
