import { create, type DescMessage, type MessageShape } from '@bufbuild/protobuf';
import type { EntityManager } from '@landfall/common/db/database.ts';
import { onceIn } from '@landfall/common/db/idempotency.ts';
import { UpdateDeploymentResponseSchema } from '@landfall/proto/landfall/balancer/v1/balancer_service_pb.js';
import type { BalancerContext } from '../context.ts';
import type { Deployment } from '../db/entities.ts';
import { findDeployment } from './deployments.ts';

/** The answers of all these calls have the same shape; what is kept of one only tells that its change was made. */
const output = UpdateDeploymentResponseSchema;

/** A call that changes a deployment, once for each request id. */
export interface Mutation<I extends DescMessage> {
  tenant: string;
  name: string;
  method: string;
  input: I;
}

/**
 * Changes a deployment in one transaction with the mark of the request, and hands it to the control loop.
 * @returns the deployment as it is now, for a repeated request too, which finds what was changed since
 */
export async function mutateDeployment<I extends DescMessage>(
  { database, fleet }: BalancerContext,
  { tenant, name, ...call }: Mutation<I>,
  request: MessageShape<I> & { requestId: string },
  mutate: (em: EntityManager) => Promise<Deployment>,
): Promise<Deployment> {
  const { requestId } = request;
  await onceIn(database, { ...call, tenant, requestId, output }, request, async (em) => {
    const { revision } = await mutate(em);
    return create(output, { deployment: { name, revision: BigInt(revision) } });
  });
  const row = await database.read((em) => findDeployment(em, tenant, name));
  fleet.apply(row);
  return row;
}
