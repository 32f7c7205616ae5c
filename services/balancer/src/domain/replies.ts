import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import {
  type Deployment as DeploymentMessage,
  DeploymentSchema,
  DeploymentState,
} from '@landfall/proto/landfall/balancer/v1/deployment_pb.js';
import type { Fleet } from '../control/fleet.ts';
import type { Deployment, StateName } from '../db/entities.ts';

const STATES: Record<StateName, DeploymentState> = {
  progressing: DeploymentState.PROGRESSING,
  ready: DeploymentState.READY,
  degraded: DeploymentState.DEGRADED,
  stopped: DeploymentState.STOPPED,
};

/** A deployment as the contract shows it, with its replicas as they are now. */
export function deploymentReply(fleet: Fleet, row: Deployment): DeploymentMessage {
  const { name, model, base, replicas, state, revision, createdMs, message } = row;
  return create(DeploymentSchema, {
    name,
    model,
    base,
    replicas,
    state: STATES[state],
    endpoints: state === 'stopped' ? [] : fleet.endpoints(row.tenant, row),
    revision: BigInt(revision),
    createTime: timestampFromMs(createdMs),
    message,
  });
}
