import type { Database, EntityManager } from '@landfall/common/db/database.ts';
import { LockMode, wrap } from '@mikro-orm/core';
import type { DeploymentStatus } from '../control/status.ts';
import { type Deployment, DeploymentEntity } from '../db/entities.ts';
import { deploymentExists, deploymentNotFound, deploymentStopped, overflowRefused } from '../errors.ts';
import { announceChange } from './events.ts';
import { declaredOf, isSame, remember } from './history.ts';
import type { ResolvedModel, Served } from './resolve.ts';
import { type DeploymentSpec, rangeOf } from './spec.ts';

/** A copy that no EntityManager follows. */
const plain = (row: Deployment): Deployment => wrap(row).toPOJO() as Deployment;

const locked = (em: EntityManager, tenant: string, name: string) =>
  em.findOne(DeploymentEntity, { tenant, name }, { lockMode: LockMode.PESSIMISTIC_WRITE });

/** A deployment to be changed. @throws LandfallError NOT_FOUND for an unknown or stopped one */
export async function lockDeployment(em: EntityManager, tenant: string, name: string): Promise<Deployment> {
  const row = await locked(em, tenant, name);
  if (!row) throw deploymentNotFound(name);
  if (row.state === 'stopped') throw deploymentStopped(name);
  return row;
}

/** Writes a change with its revision and its event. */
export async function change(
  em: EntityManager,
  row: Deployment,
  values: Partial<Deployment>,
): Promise<Deployment> {
  em.assign(row, { ...values, revision: row.revision + 1 });
  await em.flush();
  await announceChange(em, row);
  return plain(row);
}

/** What a deployment without a canary has of one. */
export const NO_CANARY = {
  canaryModel: '',
  canaryBase: '',
  canaryWeight: 0,
  canaryLimits: '',
  canaryStartedMs: 0,
};
const NO_NEXT = { nextModel: '', nextBase: '', nextVariant: '' };

/** Declares a deployment, or one that was stopped anew. @throws LandfallError ALREADY_EXISTS */
export async function declareDeployment(
  em: EntityManager,
  tenant: string,
  name: string,
  { model, base }: ResolvedModel,
  spec: DeploymentSpec,
): Promise<Deployment> {
  const row = await locked(em, tenant, name);
  if (row && row.state !== 'stopped') throw deploymentExists(name);
  const { minReplicas, maxReplicas } = rangeOf(spec, { minReplicas: 1, maxReplicas: 1 });
  // One that may sleep shows first that it can answer.
  const replicas = Math.max(1, minReplicas);
  const generation = (row?.generation ?? 0) + 1;
  const variant = spec.variant ?? '';
  const fresh = {
    model,
    base,
    variant,
    ...NO_NEXT,
    alias: spec.alias ?? '',
    aliasModel: spec.alias ? model : '',
    generation,
    paused: false,
    maxSurge: spec.strategy?.maxSurge ?? 0,
    maxUnavailable: spec.strategy?.maxUnavailable ?? 0,
    replicas,
    minReplicas,
    maxReplicas,
    scaling: spec.scaling ?? '',
    decisions: '',
    overflow: await overflowOf(em, tenant, name, spec.overflow ?? ''),
    ...NO_CANARY,
    canaryOutcome: '',
    readyReplicas: 0,
    state: 'progressing' as const,
    wasReady: false,
    message: `0 of ${replicas} replicas answer`,
    createdMs: Date.now(),
  };
  let declared: Deployment;
  if (row) {
    declared = await change(em, row, fresh);
  } else {
    const created = em.create(DeploymentEntity, { tenant, name, ...fresh, revision: 1 });
    await em.flush();
    await announceChange(em, created);
    declared = plain(created);
  }
  await remember(em, declared, generation, { model, base, variant }, 'deployed');
  return declared;
}

/**
 * Changes what is given; what is undefined stays.
 * @throws LandfallError NOT_FOUND for an unknown or stopped one
 */
export async function updateDeployment(
  em: EntityManager,
  tenant: string,
  name: string,
  model: ResolvedModel | undefined,
  spec: DeploymentSpec,
): Promise<Deployment> {
  const row = await lockDeployment(em, tenant, name);
  const { minReplicas, maxReplicas } = rangeOf(spec, row);
  const replicas = Math.min(maxReplicas, Math.max(minReplicas, row.replicas));
  const values: Partial<Deployment> = { minReplicas, maxReplicas, replicas };
  if (model) Object.assign(values, { alias: spec.alias ?? '', aliasModel: spec.alias ? model.model : '' });
  if (spec.strategy) Object.assign(values, spec.strategy);
  if (spec.scaling !== undefined) values.scaling = spec.scaling;
  if (spec.overflow !== undefined) {
    values.overflow = await overflowOf(em, tenant, name, spec.overflow);
  }
  const declared = declaredOf(row);
  const wanted = { ...declared, ...(model ?? {}), variant: spec.variant ?? declared.variant };
  const differs = (Object.keys(values) as (keyof Deployment)[]).some((key) => values[key] !== row[key]);
  // More replicas than before are on their way, not missing; the control loop says how many answer.
  if (replicas > row.replicas) Object.assign(values, { wasReady: false });
  if (!isSame(wanted, declared)) return retarget(em, row, wanted, 'updated', values);
  return differs ? change(em, row, { ...values, state: 'progressing' }) : plain(row);
}

/** Has something else served, by a rollout; a canary was compared with what served before, so it ends. */
export async function retarget(
  em: EntityManager,
  row: Deployment,
  { model, base, variant }: Served,
  reason: string,
  more: Partial<Deployment> = {},
): Promise<Deployment> {
  const generation = row.generation + 1;
  await remember(em, row, generation, { model, base, variant }, reason);
  const serves = isSame(row, { model, base, variant });
  const ended = row.canaryModel
    ? { ...NO_CANARY, canaryOutcome: `${row.canaryModel} was given up: another model is to be served` }
    : {};
  return change(em, row, {
    ...ended,
    ...(serves ? NO_NEXT : { nextModel: model, nextBase: base, nextVariant: variant }),
    ...more,
    generation,
    state: 'progressing',
  });
}

/** Holds a rollout, or lets it go on. */
export async function pauseDeployment(
  em: EntityManager,
  tenant: string,
  name: string,
  paused: boolean,
): Promise<Deployment> {
  const row = await lockDeployment(em, tenant, name);
  return row.paused === paused ? plain(row) : change(em, row, { paused });
}

/** Stops a deployment; one that is stopped stays as it is. @throws LandfallError NOT_FOUND */
export async function stopDeployment(em: EntityManager, tenant: string, name: string): Promise<Deployment> {
  const row = await locked(em, tenant, name);
  if (!row) throw deploymentNotFound(name);
  if (row.state === 'stopped') return plain(row);
  const values = { ...NO_NEXT, ...NO_CANARY, readyReplicas: 0, wasReady: false, message: '' };
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
export async function writeFindings(
  database: Database,
  seen: Deployment,
  findings: Partial<DeploymentStatus> & Partial<Pick<Deployment, 'replicas' | 'decisions'>>,
): Promise<Deployment | undefined> {
  return database.transaction(async (em) => {
    const row = await locked(em, seen.tenant, seen.name);
    if (!row) return undefined;
    return row.revision === seen.revision ? change(em, row, findings) : plain(row);
  });
}

/** @throws LandfallError FAILED_PRECONDITION for one that could not take requests over */
async function overflowOf(
  em: EntityManager,
  tenant: string,
  name: string,
  overflow: string,
): Promise<string> {
  if (overflow === '') return '';
  if (overflow === name) throw overflowRefused(overflow, 'it is the same one');
  const found = await em.findOne(DeploymentEntity, { tenant, name: overflow });
  if (!found || found.state === 'stopped') throw overflowRefused(overflow, 'there is none of that name');
  return overflow;
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
