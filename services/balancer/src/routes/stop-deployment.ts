import { StopDeploymentRequestSchema } from '@landfall/proto/landfall/balancer/v1/balancer_service_pb.js';
import type { Route } from '../context.ts';
import { stopDeployment as stop } from '../domain/deployments.ts';
import { mutateDeployment } from '../domain/mutation.ts';
import { deploymentReply } from '../domain/replies.ts';

export const stopDeployment: Route<'stopDeployment'> = (context) => async (request, call) => {
  const { tenant } = call.identity;
  const { name } = request;
  const mutation = {
    tenant,
    name,
    method: 'StopDeployment',
    input: StopDeploymentRequestSchema,
  };
  const row = await mutateDeployment(context, mutation, request, (em) => stop(em, tenant, name));
  context.logger.info({ tenant, name }, 'deployment stopped');
  return { deployment: deploymentReply(context.fleet, row) };
};
