import { EndCanaryRequestSchema } from '@landfall/proto/landfall/balancer/v1/balancer_service_pb.js';
import type { Route } from '../context.ts';
import { endCanary as end } from '../domain/canaries.ts';
import { mutateDeployment } from '../domain/mutation.ts';
import { deploymentReply } from '../domain/replies.ts';

export const endCanary: Route<'endCanary'> = (context) => async (request, call) => {
  const { tenant } = call.identity;
  const { name } = request;
  const mutation = {
    tenant,
    name,
    method: 'EndCanary',
    input: EndCanaryRequestSchema,
  };
  const row = await mutateDeployment(context, mutation, request, (em) => end(em, tenant, name));
  context.logger.info({ tenant, name, outcome: row.canaryOutcome }, 'a canary is ended');
  return { deployment: deploymentReply(context.fleet, row) };
};
