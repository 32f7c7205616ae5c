import type { EntityManager } from '@landfall/common/db/database.ts';
import type { Identity } from '@landfall/common/identity/identity.ts';
import type { AccessTarget } from '@landfall/proto/landfall/prompt/v1/access_pb.js';
import { requireFolderRight, requireRight } from './rights.ts';
import type { Right } from './standing.ts';
import { foldersUp, folderTarget, promptTarget, type Target } from './targets.ts';

/** A target as it is kept. */
export function targetOf({ target }: AccessTarget): Target {
  // The contract's rules let no request in that names neither.
  return target.case === 'prompt' ? promptTarget(target.value) : folderTarget(target.value ?? '');
}

/**
 * A target with the folders above it, the nearest first, for a caller who has the right on it.
 * @throws LandfallError NOT_FOUND for a prompt that the caller may not know of, PERMISSION_DENIED
 */
export async function requireOn(
  em: EntityManager,
  identity: Identity,
  { target }: AccessTarget,
  right: Right,
): Promise<[Target, ...Target[]]> {
  if (target.case === 'prompt') {
    const { name, folder } = await requireRight(em, identity, target.value, right);
    return [promptTarget(name), ...foldersUp(folder)];
  }
  const folder = target.value ?? '';
  await requireFolderRight(em, identity, folder, right);
  return foldersUp(folder) as [Target, ...Target[]];
}
