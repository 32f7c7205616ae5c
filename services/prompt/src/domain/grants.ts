import type { EntityManager } from '@landfall/common/db/database.ts';
import { failedPrecondition } from '@landfall/common/errors/errors.ts';
import type { Identity } from '@landfall/common/identity/identity.ts';
import { type GrantRow, GrantSchema } from '../db/access-entities.ts';
import { accessChanged, lockAccess } from './access-changes.ts';
import { RIGHTS } from './standing.ts';
import type { Target } from './targets.ts';

/** Grants on one target; more people than this belong in a group. */
const MOST = 1000;
const OWNER = RIGHTS.indexOf('owner');

/**
 * Gives a right, in place of an earlier one of the same grantee.
 * @param targets the target, and the folders above it
 * @param level number of the right
 */
export async function grant(
  em: EntityManager,
  { tenant, subject }: Identity,
  targets: readonly [Target, ...Target[]],
  grantee: string,
  level: number,
): Promise<GrantRow> {
  const [target] = targets;
  const access = await lockAccess(em, tenant, target);
  const key = { tenant, target, grantee };
  const before = await em.findOne(GrantSchema, key, { refresh: true });
  if (before?.level === level) return before;
  if (!before && (await em.count(GrantSchema, { tenant, target })) >= MOST) {
    throw failedPrecondition(`${target} has ${MOST} grants, the most there can be: give rights to groups`, {
      reason: 'TOO_MANY_GRANTS',
    });
  }
  const had = RIGHTS[before?.level ?? 0]!;
  const given = { level, author: subject, createdMs: Date.now() };
  const row = before ? Object.assign(before, given) : em.create(GrantSchema, { ...key, ...given });
  await em.flush();
  await keepAnOwner(em, tenant, targets);
  await accessChanged(em, access, {
    ...{ tenant, subject, action: 'right.granted', target, item: grantee },
    ...{ before: had, after: RIGHTS[level]! },
  });
  return row;
}

/** Takes a right back. @returns whether there was one */
export async function revoke(
  em: EntityManager,
  { tenant, subject }: Identity,
  targets: readonly [Target, ...Target[]],
  grantee: string,
): Promise<boolean> {
  const [target] = targets;
  const access = await lockAccess(em, tenant, target);
  const before = await em.findOne(GrantSchema, { tenant, target, grantee }, { refresh: true });
  if (!before) return false;
  const had = RIGHTS[before.level]!;
  await em.remove(before).flush();
  await keepAnOwner(em, tenant, targets);
  await accessChanged(em, access, {
    ...{ tenant, subject, action: 'right.revoked', target, item: grantee },
    ...{ before: had, after: 'none' },
  });
  return true;
}

/** A prompt that nobody owns could be changed by administrators only. */
async function keepAnOwner(em: EntityManager, tenant: string, targets: readonly Target[]): Promise<void> {
  if (!targets[0]!.startsWith('prompts/')) return;
  if ((await em.count(GrantSchema, { tenant, target: { $in: [...targets] }, level: OWNER })) > 0) return;
  throw failedPrecondition(`this is the last owner of ${targets[0]}: make somebody else owner first`, {
    reason: 'LAST_OWNER',
  });
}
