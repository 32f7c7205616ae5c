import { create, fromJsonString, toJsonString } from '@bufbuild/protobuf';
import type { EntityManager } from '@landfall/common/db/database.ts';
import {
  type CanaryLimits as CanaryLimitsMessage,
  CanaryLimitsSchema,
} from '@landfall/proto/landfall/balancer/v1/rollout_pb.js';
import { wrap } from '@mikro-orm/core';
import { type CanaryLimits, type Told, verdictOn } from '../control/canary.ts';
import { type Deployment, type ModelRecord, ModelRecordEntity } from '../db/entities.ts';
import { canaryRefused, noCanary } from '../errors.ts';
import { change, lockDeployment, NO_CANARY, retarget } from './deployments.ts';
import type { ResolvedModel } from './resolve.ts';

const NOTHING: Told = { calls: 0, errors: 0, scores: 0, scoreSum: 0 };

/** When a canary is given up, defaults filled in. */
export function limitsOf(canaryLimits: string): CanaryLimits {
  const { errorMargin, minCalls, scoreMargin, minScores } = fromJsonString(
    CanaryLimitsSchema,
    canaryLimits || '{}',
  );
  return {
    errorMargin: errorMargin || 0.05,
    minCalls: minCalls || 50,
    scoreMargin: scoreMargin || 0.05,
    minScores: minScores || 20,
  };
}

/**
 * Has a second model tried, or changes the share of the one that is tried; what was told of that one stays.
 * @throws LandfallError FAILED_PRECONDITION during a rollout and for the model that is served
 */
export async function startCanary(
  em: EntityManager,
  tenant: string,
  name: string,
  { model, base }: ResolvedModel,
  weightPercent: number,
  limits: CanaryLimitsMessage | undefined,
): Promise<Deployment> {
  const row = await lockDeployment(em, tenant, name);
  if (row.nextModel) throw canaryRefused(name, `${row.nextModel} is on its way to take over`);
  if (row.model === model) throw canaryRefused(name, `${model} is what it serves`);
  const runs = row.canaryModel === model;
  if (!runs) await em.nativeDelete(ModelRecordEntity, { tenant, name });
  const given = toJsonString(CanaryLimitsSchema, limits ?? create(CanaryLimitsSchema));
  return change(em, row, {
    canaryModel: model,
    canaryBase: base,
    canaryWeight: weightPercent,
    canaryLimits: runs && !limits ? row.canaryLimits : given,
    canaryStartedMs: runs ? row.canaryStartedMs : Date.now(),
    canaryOutcome: '',
  });
}

/** @throws LandfallError FAILED_PRECONDITION where there is no canary */
export async function promoteCanary(em: EntityManager, tenant: string, name: string): Promise<Deployment> {
  const row = await lockDeployment(em, tenant, name);
  const { canaryModel: model, canaryBase: base, variant } = row;
  if (!model) throw noCanary(name);
  const outcome = { canaryOutcome: `${model} was promoted` };
  return retarget(em, row, { model, base, variant }, 'promoted', outcome);
}

export async function endCanary(em: EntityManager, tenant: string, name: string): Promise<Deployment> {
  const row = await lockDeployment(em, tenant, name);
  if (!row.canaryModel) return wrap(row).toPOJO() as Deployment;
  return change(em, row, { ...NO_CANARY, canaryOutcome: `${row.canaryModel} was ended` });
}

/** What was told of a model. */
export async function toldOf(
  em: EntityManager,
  { tenant, name }: Pick<Deployment, 'tenant' | 'name'>,
  model: string,
): Promise<Told> {
  return (await em.findOne(ModelRecordEntity, { tenant, name, model })) ?? NOTHING;
}

/**
 * Adds what a caller tells of a model to what is known, and gives the canary up when that speaks against it, in one
 * transaction. What is told of other models, or while none is tried, is dropped.
 * @returns the deployment as it is now
 * @throws LandfallError NOT_FOUND
 */
export async function tell(
  em: EntityManager,
  tenant: string,
  name: string,
  model: string,
  more: Told,
): Promise<Deployment> {
  const row = await lockDeployment(em, tenant, name);
  const { canaryModel } = row;
  const counts = canaryModel !== '' && (model === canaryModel || model === row.model);
  if (!counts) return wrap(row).toPOJO() as Deployment;
  await add(em, { tenant, name, model }, more);
  const canary = await toldOf(em, row, canaryModel);
  const reason = verdictOn(canary, await toldOf(em, row, row.model), limitsOf(row.canaryLimits));
  if (!reason) return wrap(row).toPOJO() as Deployment;
  return change(em, row, { ...NO_CANARY, canaryOutcome: `${canaryModel} was given up: ${reason}` });
}

async function add(
  em: EntityManager,
  key: Pick<ModelRecord, 'tenant' | 'name' | 'model'>,
  { calls, errors, scores, scoreSum }: Told,
): Promise<void> {
  const known = await em.findOne(ModelRecordEntity, key);
  if (!known) em.create(ModelRecordEntity, { ...key, calls, errors, scores, scoreSum });
  else {
    known.calls += calls;
    known.errors += errors;
    known.scores += scores;
    known.scoreSum += scoreSum;
  }
  await em.flush();
}
