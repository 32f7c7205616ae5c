import type { EntityManager } from '@landfall/common/db/database.ts';
import { permissionDenied } from '@landfall/common/errors/errors.ts';
import { type Identity, roleReaches } from '@landfall/common/identity/identity.ts';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { type ProtectionRow, ProtectionSchema } from '../db/access-entities.ts';
import { accessChanged, lockAccess } from './access-changes.ts';
import { approversOf, demandsLess, mostDemanding, protectionsOn } from './protections.ts';
import type { Target } from './targets.ts';

/** What a label is to demand, as asked for. */
interface Wish {
  label: string;
  /** 0 means 1. */
  approvals: number;
  approvers: readonly string[];
  ownerMayUndo: boolean;
}

const described = (row: ProtectionRow | null) =>
  row
    ? `${row.approvals} of owners ${approversOf(row).join(' ')}${row.ownerMayUndo ? '; owners undo' : ''}`.trim()
    : '';

/**
 * Protects a label of a target, or changes what it demands.
 * @param targets the target, and the folders above it
 * @throws LandfallError PERMISSION_DENIED where less would be demanded and the caller is no administrator
 */
export async function protect(
  em: EntityManager,
  { tenant, subject, role }: Identity,
  targets: readonly [Target, ...Target[]],
  { label, approvals, approvers, ownerMayUndo }: Wish,
): Promise<ProtectionRow> {
  const [target] = targets;
  const access = await lockAccess(em, tenant, target);
  const demand = async () => mostDemanding(await protectionsOn(em, tenant, targets, label));
  const demanded = await demand();
  const key = { tenant, target, label };
  const row = await em.findOne(ProtectionSchema, key, { refresh: true });
  const before = described(row);
  const wish = { approvals: approvals || 1, approvers: [...approvers].sort().join('\n'), ownerMayUndo };
  const now = row ? Object.assign(row, wish) : em.create(ProtectionSchema, { ...key, ...wish });
  const after = described(now);
  if (after === before) return now;
  await em.flush();
  if (demandsLess(await demand(), demanded) && !roleReaches(role, Role.ADMIN)) {
    throw permissionDenied(
      `less would be asked for before a move of '${label}' than now: let an administrator change it`,
      { reason: 'PROTECTION_LOOSENED' },
    );
  }
  await accessChanged(em, access, {
    ...{ tenant, subject, action: 'label.protected', target, item: label, before, after },
  });
  return now;
}

/** Takes a protection away. @returns whether there was one */
export async function unprotect(
  em: EntityManager,
  { tenant, subject }: Identity,
  target: Target,
  label: string,
): Promise<boolean> {
  const access = await lockAccess(em, tenant, target);
  const row = await em.findOne(ProtectionSchema, { tenant, target, label }, { refresh: true });
  if (!row) return false;
  const before = described(row);
  await em.remove(row).flush();
  const change = { tenant, subject, action: 'label.unprotected', target, item: label, before };
  await accessChanged(em, access, change);
  return true;
}
