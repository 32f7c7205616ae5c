import { create, fromJsonString } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { EntityManager } from '@landfall/common/db/database.ts';
import {
  type Deployment as DeploymentMessage,
  DeploymentSchema,
  DeploymentState,
  OverflowPolicy,
} from '@landfall/proto/landfall/balancer/v1/deployment_pb.js';
import { CanaryLimitsSchema, ModelRecordSchema } from '@landfall/proto/landfall/balancer/v1/rollout_pb.js';
import { ScalingPolicySchema } from '@landfall/proto/landfall/balancer/v1/scaling_pb.js';
import type { Told } from '../control/canary.ts';
import type { Fleet } from '../control/fleet.ts';
import { canaryOf } from '../control/roles.ts';
import { changesOf } from '../control/scaler.ts';
import type { Deployment, DeploymentRevision, StateName } from '../db/entities.ts';
import { toldOf } from './canaries.ts';
import { declaredOf } from './history.ts';
import { settingsOf } from './variant.ts';

const STATES: Record<StateName, DeploymentState> = {
  progressing: DeploymentState.PROGRESSING,
  ready: DeploymentState.READY,
  degraded: DeploymentState.DEGRADED,
  stopped: DeploymentState.STOPPED,
};

/** A deployment as the contract shows it, with its replicas as they are now. */
export function deploymentReply(fleet: Fleet, row: Deployment): DeploymentMessage {
  const { name, model, base, replicas, minReplicas, maxReplicas, state, createdMs, message } = row;
  const { alias, nextModel, paused, maxSurge, maxUnavailable, canaryOutcome, scaling, overflow } = row;
  const canary = canaryReply(fleet, row);
  return create(DeploymentSchema, {
    name,
    model,
    base,
    replicas,
    minReplicas,
    maxReplicas,
    state: STATES[state],
    endpoints: state === 'stopped' ? [] : fleet.endpoints(row.tenant, row),
    revision: BigInt(row.revision),
    createTime: timestampFromMs(createdMs),
    message,
    settings: settingsOf(declaredOf(row).variant),
    strategy: { maxSurge, maxUnavailable },
    alias,
    nextModel,
    paused,
    generation: BigInt(row.generation),
    ...(canary ? { canary } : {}),
    canaryOutcome,
    scaling: fromJsonString(ScalingPolicySchema, scaling || '{}'),
    autoscaling: scalingReply(fleet, row),
    lastReplacement: fleet.lastReplacement(row),
    ...(overflow ? { overflow: { deployment: overflow, policy: OverflowPolicy.PRIVATE_FIRST } } : {}),
  });
}

/** The same, with what was told of a canary and of the model beside it. */
export async function detailedReply(
  em: EntityManager,
  fleet: Fleet,
  row: Deployment,
): Promise<DeploymentMessage> {
  const reply = deploymentReply(fleet, row);
  if (!reply.canary) return reply;
  const canary = recordReply(row.canaryModel, await toldOf(em, row, row.canaryModel));
  const stable = recordReply(row.model, await toldOf(em, row, row.model));
  Object.assign(reply.canary, { canary, stable });
  return reply;
}

export const revisionReply = ({ generation, model, variant, reason, createdMs }: DeploymentRevision) => ({
  generation: BigInt(generation),
  model,
  settings: settingsOf(variant),
  reason,
  createTime: timestampFromMs(createdMs),
});

function canaryReply(fleet: Fleet, row: Deployment) {
  const served = canaryOf(row);
  if (!served) return undefined;
  const { ready, problem } = fleet.supply(row.tenant, served);
  return {
    model: served.model,
    weightPercent: row.canaryWeight,
    readyReplicas: ready,
    message: ready > 0 ? '' : problem || 'none of its replicas answers yet',
    limits: fromJsonString(CanaryLimitsSchema, row.canaryLimits || '{}'),
    startTime: timestampFromMs(row.canaryStartedMs),
  };
}

const recordReply = (model: string, { calls, errors, scores, scoreSum }: Told) =>
  create(ModelRecordSchema, {
    model,
    calls: BigInt(calls),
    errors: BigInt(errors),
    scores: BigInt(scores),
    meanScore: scores > 0 ? scoreSum / scores : 0,
  });

function scalingReply(fleet: Fleet, row: Deployment) {
  const changes = changesOf(row);
  const [last] = changes;
  return {
    desired: row.replicas,
    reason: fleet.scalingReason(row) || (last?.reason ?? ''),
    ...(last ? { lastChange: timestampFromMs(last.ms) } : {}),
    decisions: changes.map(({ ms, from, to, reason }) => ({ time: timestampFromMs(ms), from, to, reason })),
  };
}
