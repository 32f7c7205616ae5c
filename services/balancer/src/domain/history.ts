import type { EntityManager } from '@landfall/common/db/database.ts';
import { wrap } from '@mikro-orm/core';
import { type Deployment, type DeploymentRevision, DeploymentRevisionEntity } from '../db/entities.ts';
import { nothingToUndo } from '../errors.ts';
import type { Served } from './resolve.ts';

/** Generations that are kept of each deployment. */
export const KEPT_GENERATIONS = 10;

/** What a deployment is declared to serve: what is on its way, where something is. */
export function declaredOf(row: Deployment): Served {
  const { model, base, variant, nextModel, nextBase, nextVariant } = row;
  return nextModel ? { model: nextModel, base: nextBase, variant: nextVariant } : { model, base, variant };
}

export const isSame = (a: Served, b: Served): boolean => a.model === b.model && a.variant === b.variant;

/** Writes what a generation serves, and forgets the oldest. */
export async function remember(
  em: EntityManager,
  { tenant, name }: Deployment,
  generation: number,
  { model, base, variant }: Served,
  reason: string,
): Promise<void> {
  const createdMs = Date.now();
  await em.insert(DeploymentRevisionEntity, {
    tenant,
    name,
    generation,
    model,
    base,
    variant,
    reason,
    createdMs,
  });
  const old = { tenant, name, generation: { $lte: generation - KEPT_GENERATIONS } };
  await em.nativeDelete(DeploymentRevisionEntity, old);
}

/** The newest first. */
export async function historyOf(
  em: EntityManager,
  tenant: string,
  name: string,
): Promise<DeploymentRevision[]> {
  const rows = await em.find(DeploymentRevisionEntity, { tenant, name }, { orderBy: { generation: 'desc' } });
  return rows.map((row) => wrap(row).toPOJO() as DeploymentRevision);
}

/**
 * The generation to go back to: the one that is asked for, or for 0 the newest that differs from what is declared.
 * @throws LandfallError FAILED_PRECONDITION where there is none
 */
export async function generationBefore(
  em: EntityManager,
  row: Deployment,
  generation: number,
): Promise<DeploymentRevision> {
  const declared = declaredOf(row);
  const history = await historyOf(em, row.tenant, row.name);
  const found = history.find((each) =>
    generation > 0 ? each.generation === generation : !isSame(each, declared),
  );
  if (!found) throw nothingToUndo(row.name, generation);
  return found;
}
