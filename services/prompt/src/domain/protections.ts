import type { EntityManager } from '@landfall/common/db/database.ts';
import type { Identity } from '@landfall/common/identity/identity.ts';
import { type ProtectionRow, ProtectionSchema } from '../db/access-entities.ts';
import type { PromptRow } from '../db/entities.ts';
import { granteesOf } from './standing.ts';
import { foldersUp, promptTarget, type Target } from './targets.ts';

/** What a protected label demands of those who move it. */
export interface Demand {
  /** The nearest target where it was set. */
  target: Target;
  approvals: number;
  /** Grantees that may approve besides owners. */
  approvers: readonly string[];
  ownerMayUndo: boolean;
}

export const approversOf = (row: ProtectionRow): string[] =>
  row.approvers === '' ? [] : row.approvers.split('\n');

/** Protections that cover targets, by label, the nearest first. @param targets the nearest first */
export async function protectionsOn(
  em: EntityManager,
  tenant: string,
  targets: readonly Target[],
  label?: string,
): Promise<ProtectionRow[]> {
  const where = { tenant, target: { $in: [...targets] }, ...(label ? { label } : {}) };
  const rows = await em.find(ProtectionSchema, where, { orderBy: { label: 'asc' } });
  const place = (row: ProtectionRow) => targets.indexOf(row.target as Target);
  return rows.sort((a, b) => (a.label < b.label ? -1 : a.label > b.label ? 1 : place(a) - place(b)));
}

/** What a label of a prompt demands; undefined where it is not protected. */
export async function demandOf(
  em: EntityManager,
  { tenant, name, folder }: PromptRow,
  label: string,
): Promise<Demand | undefined> {
  const targets = [promptTarget(name), ...foldersUp(folder)];
  return mostDemanding(await protectionsOn(em, tenant, targets, label));
}

/**
 * Of several protections the most demanding: most approvals, no undoing where one forbids it, and approvers that each
 * of those with a list names, so that who owns a prompt can't widen what its folder asks for.
 */
export function mostDemanding(rows: readonly ProtectionRow[]): Demand | undefined {
  const [nearest] = rows;
  if (!nearest) return undefined;
  const [first = [], ...others] = rows.map(approversOf).filter((list) => list.length > 0);
  return {
    target: nearest.target as Target,
    approvals: Math.max(...rows.map((row) => row.approvals)),
    approvers: first.filter((approver) => others.every((list) => list.includes(approver))),
    ownerMayUndo: rows.every((row) => row.ownerMayUndo),
  };
}

/** Whether one demands less than the other in any way. */
export function demandsLess(now: Demand | undefined, before: Demand | undefined): boolean {
  if (!before) return false;
  if (!now) return true;
  return (
    now.approvals < before.approvals ||
    (now.ownerMayUndo && !before.ownerMayUndo) ||
    now.approvers.some((approver) => !before.approvers.includes(approver))
  );
}

/** Whether a caller is on the list. */
export const isApprover = (identity: Identity, { approvers }: Demand): boolean =>
  granteesOf(identity).some((grantee) => approvers.includes(grantee));

/** Protected labels of a prompt that would demand less in another folder. */
export async function labelsThatLoosen(
  em: EntityManager,
  prompt: PromptRow,
  folder: string,
): Promise<string[]> {
  const { tenant, name } = prompt;
  const own = promptTarget(name);
  const [before, after] = [
    await protectionsOn(em, tenant, [own, ...foldersUp(prompt.folder)]),
    await protectionsOn(em, tenant, [own, ...foldersUp(folder)]),
  ];
  const of = (rows: readonly ProtectionRow[], label: string) =>
    mostDemanding(rows.filter((row) => row.label === label));
  const labels = new Set(before.map((row) => row.label));
  return [...labels].filter((label) => demandsLess(of(after, label), of(before, label)));
}
