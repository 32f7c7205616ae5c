import { ResumeDeploymentRequestSchema } from '@landfall/proto/landfall/balancer/v1/balancer_service_pb.js';
import type { Route } from '../context.ts';
import { pauseDeployment as pause } from '../domain/deployments.ts';
import { mutateDeployment } from '../domain/mutation.ts';
import { deploymentReply } from '../domain/replies.ts';

export const resumeDeployment: Route<'resumeDeployment'> = (context) => async (request, call) => {
  const { tenant } = call.identity;
  const { name } = request;
  const mutation = {
    tenant,
    name,
    method: 'ResumeDeployment',
    input: ResumeDeploymentRequestSchema,
  };
  const row = await mutateDeployment(context, mutation, request, (em) => pause(em, tenant, name, false));
  context.logger.info({ tenant, name, next_model: row.nextModel }, 'a rollout goes on');
  return { deployment: deploymentReply(context.fleet, row) };
};
