import { PauseDeploymentRequestSchema } from '@landfall/proto/landfall/balancer/v1/balancer_service_pb.js';
import type { Route } from '../context.ts';
import { pauseDeployment as pause } from '../domain/deployments.ts';
import { mutateDeployment } from '../domain/mutation.ts';
import { deploymentReply } from '../domain/replies.ts';

export const pauseDeployment: Route<'pauseDeployment'> = (context) => async (request, call) => {
  const { tenant } = call.identity;
  const { name } = request;
  const mutation = {
    tenant,
    name,
    method: 'PauseDeployment',
    input: PauseDeploymentRequestSchema,
  };
  const row = await mutateDeployment(context, mutation, request, (em) => pause(em, tenant, name, true));
  context.logger.info({ tenant, name, next_model: row.nextModel }, 'a rollout is held');
  return { deployment: deploymentReply(context.fleet, row) };
};
