import { create, type MessageInitShape } from '@bufbuild/protobuf';
import type { EntityManager } from '@landfall/common/db/database.ts';
import { announce } from '@landfall/common/events/outbox.ts';
import {
  DeploymentChangedSchema,
  ReplicaReplacedSchema,
} from '@landfall/proto/landfall/event/v1/events_pb.js';
import type { Deployment } from '../db/entities.ts';

/** Announces a deployment as it is now, in the transaction of `em`. */
export async function announceChange(em: EntityManager, deployment: Deployment): Promise<void> {
  const { tenant, name, state, model, readyReplicas, replicas, revision, generation } = deployment;
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
      generation: BigInt(generation),
    }),
  });
}

/** Announces, in the transaction of `em`, that a replica which serves is replaced. */
export async function announceReplaced(
  em: EntityManager,
  facts: MessageInitShape<typeof ReplicaReplacedSchema>,
): Promise<void> {
  await announce(em, 'balancer', {
    subject: 'landfall.balancer.replica.replaced.v1',
    schema: ReplicaReplacedSchema,
    payload: create(ReplicaReplacedSchema, facts),
  });
}
