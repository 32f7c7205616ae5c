import type { Database, EntityManager } from '@landfall/common/db/database.ts';
import { LockMode, wrap } from '@mikro-orm/core';
import type { DeploymentStatus } from '../control/status.ts';
import { type Deployment, DeploymentEntity } from '../db/entities.ts';
import { deploymentExists, deploymentNotFound, deploymentStopped } from '../errors.ts';
import { announceChange } from './events.ts';
import type { ResolvedModel } from './resolve.ts';

/** A copy that no EntityManager follows. */
const plain = (row: Deployment): Deployment => wrap(row).toPOJO() as Deployment;

const locked = (em: EntityManager, tenant: string, name: string) =>
  em.findOne(DeploymentEntity, { tenant, name }, { lockMode: LockMode.PESSIMISTIC_WRITE });

/** Writes a change with its revision and its event. */
async function change(em: EntityManager, row: Deployment, values: Partial<Deployment>): Promise<Deployment> {
  em.assign(row, { ...values, revision: row.revision + 1 });
  await em.flush();
  await announceChange(em, row);
  return plain(row);
}

/** Declares a deployment, or one that was stopped anew. @throws LandfallError ALREADY_EXISTS */
export async function declareDeployment(
  em: EntityManager,
  tenant: string,
  name: string,
  { model, base }: ResolvedModel,
  replicas: number,
): Promise<Deployment> {
  const fresh = {
    model,
    base,
    nextModel: '',
    nextBase: '',
    replicas,
    readyReplicas: 0,
    state: 'progressing' as const,
    wasReady: false,
    message: `0 of ${replicas} replicas answer`,
    createdMs: Date.now(),
  };
  const row = await locked(em, tenant, name);
  if (row && row.state !== 'stopped') throw deploymentExists(name);
  if (row) return change(em, row, fresh);
  const created = em.create(DeploymentEntity, { tenant, name, ...fresh, revision: 1 });
  await em.flush();
  await announceChange(em, created);
  return plain(created);
}

/**
 * Changes model, replicas or both; what is undefined stays.
 * @throws LandfallError NOT_FOUND for an unknown or stopped one
 */
export async function updateDeployment(
  em: EntityManager,
  tenant: string,
  name: string,
  model: ResolvedModel | undefined,
  replicas: number | undefined,
): Promise<Deployment> {
  const row = await locked(em, tenant, name);
  if (!row) throw deploymentNotFound(name);
  if (row.state === 'stopped') throw deploymentStopped(name);
  const values: Partial<Deployment> = {};
  if (model) {
    const changes = model.model !== row.model;
    Object.assign(values, { nextModel: changes ? model.model : '', nextBase: changes ? model.base : '' });
  }
  if (replicas !== undefined && replicas !== row.replicas) values.replicas = replicas;
  const differs = (Object.keys(values) as (keyof Deployment)[]).some((key) => values[key] !== row[key]);
  if (!differs) return plain(row);
  // More replicas than before are on their way, not missing; the control loop says how many answer.
  if ((replicas ?? 0) > row.replicas) Object.assign(values, { wasReady: false });
  return change(em, row, { ...values, state: 'progressing' });
}

/** Stops a deployment; one that is stopped stays as it is. @throws LandfallError NOT_FOUND */
export async function stopDeployment(em: EntityManager, tenant: string, name: string): Promise<Deployment> {
  const row = await locked(em, tenant, name);
  if (!row) throw deploymentNotFound(name);
  if (row.state === 'stopped') return plain(row);
  const values = { nextModel: '', nextBase: '', readyReplicas: 0, wasReady: false, message: '' };
  return change(em, row, { ...values, state: 'stopped' });
}

export async function findDeployment(em: EntityManager, tenant: string, name: string): Promise<Deployment> {
  const row = await em.findOne(DeploymentEntity, { tenant, name });
  if (!row) throw deploymentNotFound(name);
  return plain(row);
}

/** Every deployment of every tenant, for the control loop's start. */
export async function allDeployments(database: Database): Promise<Deployment[]> {
  const rows = await database.read((em) => em.find(DeploymentEntity, {}));
  return rows.map(plain);
}

/**
 * Writes what the control loop has found, unless the deployment was changed since it looked.
 * @returns the deployment as it is now
 */
export async function writeStatus(
  database: Database,
  seen: Deployment,
  status: DeploymentStatus,
): Promise<Deployment | undefined> {
  return database.transaction(async (em) => {
    const row = await locked(em, seen.tenant, seen.name);
    if (!row) return undefined;
    return row.revision === seen.revision ? change(em, row, status) : plain(row);
  });
}

export interface ListFilter {
  base: string;
  includeStopped: boolean;
  /** Name after which the page begins; undefined for the first. */
  after: string | undefined;
  limit: number;
}

/** Deployments of a tenant by name. */
export async function listDeployments(
  em: EntityManager,
  tenant: string,
  { base, includeStopped, after, limit }: ListFilter,
): Promise<Deployment[]> {
  const rows = await em.find(
    DeploymentEntity,
    {
      tenant,
      ...(base ? { base } : {}),
      ...(includeStopped ? {} : { state: { $ne: 'stopped' as const } }),
      ...(after === undefined ? {} : { name: { $gt: after } }),
    },
    { orderBy: { name: 'asc' }, limit },
  );
  return rows.map(plain);
}
