import type { EntityManager } from '@landfall/common/db/database.ts';
import { failedPrecondition, invalidArgument } from '@landfall/common/errors/errors.ts';
import { AliasEntity, type Version } from '../db/entities.ts';
import type { StageName } from '../db/life-entities.ts';
import { resolveReference } from './find.ts';
import { formatReference, parseReference } from './reference.ts';

/**
 * Gives a locked READY version a stage. Returns whether it is another than before. Throws FAILED_PRECONDITION for
 * archiving what an alias points at.
 */
export async function changeStage(em: EntityManager, version: Version, stage: StageName): Promise<boolean> {
  if (version.stage === stage) return false;
  if (stage === 'archived') {
    const aliases = await em.find(AliasEntity, { versionId: version.id }, { limit: 20 });
    if (aliases.length > 0) {
      const ref = formatReference(version.name, version.version);
      const names = aliases.map(({ alias }) => `'${alias}'`).join(', ');
      throw failedPrecondition(`${ref} carries ${names}; move these aliases first`, {
        reason: 'VERSION_HAS_ALIASES',
      });
    }
  }
  version.stage = stage;
  await em.flush();
  return true;
}

export type DeprecationInit = { sunsetMs: number | null; reason: string; successor: string };

/** Deprecates a locked READY version. Returns whether that says anything new. Throws INVALID_ARGUMENT. */
export async function deprecate(
  em: EntityManager,
  version: Version,
  { sunsetMs, reason, successor }: DeprecationInit,
): Promise<boolean> {
  const same =
    version.deprecatedMs &&
    version.sunsetMs === sunsetMs &&
    version.deprecationReason === reason &&
    version.successor === successor;
  if (same) return false;
  if (successor !== '') await checkSuccessor(em, version, successor);
  version.deprecatedMs ??= Date.now();
  version.sunsetMs = sunsetMs;
  version.deprecationReason = reason;
  version.successor = successor;
  await em.flush();
  return true;
}

async function checkSuccessor(em: EntityManager, version: Version, successor: string): Promise<void> {
  const parsed = parseReference(successor, 'successor');
  if (parsed.version === undefined) {
    throw invalidArgument('successor', 'name a version, since an alias moves; write models:/name/1.0.0');
  }
  const found = await resolveReference(em, version.tenant, parsed);
  if (found?.state !== 'ready' || found.deletedMs) {
    throw invalidArgument('successor', `there is no READY version '${successor}'`);
  }
  if (found.id === version.id) throw invalidArgument('successor', 'a version can not succeed itself');
}

/** Takes the deprecation of a locked version back. Returns whether there was one. */
export async function reinstate(em: EntityManager, version: Version): Promise<boolean> {
  if (!version.deprecatedMs) return false;
  version.deprecatedMs = null;
  version.sunsetMs = null;
  version.deprecationReason = '';
  version.successor = '';
  await em.flush();
  return true;
}
