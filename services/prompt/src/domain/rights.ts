import type { EntityManager } from '@landfall/common/db/database.ts';
import { type LandfallError, permissionDenied } from '@landfall/common/errors/errors.ts';
import type { Identity } from '@landfall/common/identity/identity.ts';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { GrantSchema } from '../db/access-entities.ts';
import type { PromptRow } from '../db/entities.ts';
import { promptNotFound } from '../errors.ts';
import { noteOverride } from './audit.ts';
import { findPrompt } from './find.ts';
import { RIGHTS, type Right, type Standing, standingOn } from './standing.ts';
import { foldersUp, promptTarget, type Target } from './targets.ts';

/**
 * The prompt, for a caller who has the right. Where nothing is restricted the role decides (viewer, invoker, editor;
 * an administrator owns), and grants add to it; where the prompt or a folder above it is restricted, grants alone
 * count, except for administrators. What a method's role asks for is asked for in any case.
 * @throws LandfallError NOT_FOUND also for a prompt that the caller may not know of, PERMISSION_DENIED
 */
export async function requireRight(
  em: EntityManager,
  identity: Identity,
  name: string,
  right: Right,
): Promise<PromptRow> {
  const prompt = await findPrompt(em, identity.tenant, name);
  const standing = await standingOnPrompt(em, identity, prompt);
  if (standing.level === 0) throw promptNotFound(name);
  const target = promptTarget(name);
  if (standing.level < RIGHTS.indexOf(right)) throw denied(target, right, standing);
  await noteOffice(em, identity, target, standing);
  return prompt;
}

/**
 * The same for a folder, that need not hold anything yet.
 * @throws LandfallError PERMISSION_DENIED
 */
export async function requireFolderRight(
  em: EntityManager,
  identity: Identity,
  folder: string,
  right: Right,
): Promise<void> {
  const targets = foldersUp(folder);
  const standing = await standingOn(em, identity, targets);
  if (standing.level < RIGHTS.indexOf(right)) throw denied(targets[0]!, right, standing);
  await noteOffice(em, identity, targets[0]!, standing);
}

export function standingOnPrompt(
  em: EntityManager,
  identity: Identity,
  { name, folder }: PromptRow,
): Promise<Standing> {
  return standingOn(em, identity, [promptTarget(name), ...foldersUp(folder)]);
}

/** Services act for the mesh and not for themselves: only administrators are noted. */
async function noteOffice(em: EntityManager, identity: Identity, target: Target, standing: Standing) {
  const { byOffice, restrictedBy } = standing;
  if (byOffice && restrictedBy && identity.role === Role.ADMIN) {
    await noteOverride(em, identity, target, restrictedBy);
  }
}

/** Whoever makes a prompt owns it. This restricts nothing: where nothing is, the others go on by their roles. */
export async function makeOwner(
  em: EntityManager,
  { tenant, name, createdMs }: PromptRow,
  subject: string,
): Promise<void> {
  const target = promptTarget(name);
  const level = RIGHTS.indexOf('owner');
  await em.insert(GrantSchema, { tenant, target, grantee: subject, level, author: subject, createdMs });
}

/** What is wrong, and who can mend it. */
function denied(target: Target, right: Right, { level, restrictedBy, grant }: Standing): LandfallError {
  const has = level === 0 ? 'none' : RIGHTS[level]!;
  const by = grant && grant.level === level ? `granted on ${grant.target}` : 'by role';
  const why = restrictedBy ? `${restrictedBy} is restricted to those with a grant` : `you have ${has} ${by}`;
  return permissionDenied(`${target} needs the right ${right}; ${why}. An owner can give it by GrantRight`, {
    reason: 'RIGHT_MISSING',
    metadata: { target, right, has },
  });
}
