import { PromoteCanaryRequestSchema } from '@landfall/proto/landfall/balancer/v1/balancer_service_pb.js';
import type { Route } from '../context.ts';
import { promoteCanary as promote } from '../domain/canaries.ts';
import { mutateDeployment } from '../domain/mutation.ts';
import { deploymentReply } from '../domain/replies.ts';

export const promoteCanary: Route<'promoteCanary'> = (context) => async (request, call) => {
  const { tenant } = call.identity;
  const { name } = request;
  const mutation = {
    tenant,
    name,
    method: 'PromoteCanary',
    input: PromoteCanaryRequestSchema,
  };
  const row = await mutateDeployment(context, mutation, request, (em) => promote(em, tenant, name));
  context.logger.info({ tenant, name, next_model: row.nextModel }, 'a canary is promoted');
  return { deployment: deploymentReply(context.fleet, row) };
};
