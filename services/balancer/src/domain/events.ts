import { create } from '@bufbuild/protobuf';
import type { EntityManager } from '@landfall/common/db/database.ts';
import { announce } from '@landfall/common/events/outbox.ts';
import { DeploymentChangedSchema } from '@landfall/proto/landfall/event/v1/events_pb.js';
import type { Deployment } from '../db/entities.ts';

/** Announces a deployment as it is now, in the transaction of `em`. */
export async function announceChange(em: EntityManager, deployment: Deployment): Promise<void> {
  const { tenant, name, state, model, readyReplicas, replicas, revision } = deployment;
  await announce(em, 'balancer', {
    subject: 'landfall.balancer.deployment.changed.v1',
    schema: DeploymentChangedSchema,
    payload: create(DeploymentChangedSchema, {
      tenant,
      name,
      state,
      model,
      readyReplicas,
      replicas,
      revision: BigInt(revision),
    }),
  });
}
