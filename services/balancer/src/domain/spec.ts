import { toJsonString } from '@bufbuild/protobuf';
import type {
  DeployRequest,
  UpdateDeploymentRequest,
} from '@landfall/proto/landfall/balancer/v1/balancer_service_pb.js';
import { ScalingPolicySchema } from '@landfall/proto/landfall/balancer/v1/scaling_pb.js';
import type { RolloutStrategy } from '../control/rollout.ts';
import { noRange } from '../errors.ts';
import { variantOf } from './variant.ts';

/** What a request declares of a deployment beside its model; undefined for what it does not tell. */
export interface DeploymentSpec {
  /** Where the model was given as an alias. */
  alias?: string;
  minReplicas?: number;
  maxReplicas?: number;
  variant?: string;
  strategy?: RolloutStrategy;
  /** ScalingPolicy as ProtoJSON. */
  scaling?: string;
  /** Name of a deployment; empty for none any more. */
  overflow?: string;
}

export function specOf(request: DeployRequest | UpdateDeploymentRequest): DeploymentSpec {
  const { model, replicas, minReplicas, maxReplicas, settings, strategy, scaling, overflow } = request;
  return {
    ...(model.includes('@') ? { alias: model } : {}),
    ...(replicas > 0 ? { minReplicas: replicas, maxReplicas: replicas } : {}),
    ...(minReplicas === undefined ? {} : { minReplicas }),
    ...(maxReplicas > 0 ? { maxReplicas } : {}),
    ...(settings ? { variant: variantOf(settings) } : {}),
    ...(strategy
      ? { strategy: { maxSurge: strategy.maxSurge, maxUnavailable: strategy.maxUnavailable } }
      : {}),
    ...(scaling ? { scaling: toJsonString(ScalingPolicySchema, scaling) } : {}),
    ...(overflow ? { overflow: overflow.deployment } : {}),
  };
}

/** Least and most replicas, of which one may be as before. @throws LandfallError INVALID_ARGUMENT */
export function rangeOf(
  spec: DeploymentSpec,
  before: { minReplicas: number; maxReplicas: number },
): { minReplicas: number; maxReplicas: number } {
  const minReplicas = spec.minReplicas ?? before.minReplicas;
  const maxReplicas = spec.maxReplicas ?? Math.max(before.maxReplicas, minReplicas);
  if (minReplicas > maxReplicas) throw noRange();
  return { minReplicas, maxReplicas };
}
