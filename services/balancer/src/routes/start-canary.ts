import { StartCanaryRequestSchema } from '@landfall/proto/landfall/balancer/v1/balancer_service_pb.js';
import type { Route } from '../context.ts';
import { startCanary as start } from '../domain/canaries.ts';
import { mutateDeployment } from '../domain/mutation.ts';
import { deploymentReply } from '../domain/replies.ts';
import { resolveModel } from '../domain/resolve.ts';

export const startCanary: Route<'startCanary'> = (context) => async (request, call) => {
  const { fleet, registry, logger } = context;
  const { tenant } = call.identity;
  const { name, weightPercent, limits } = request;
  const model = await resolveModel(registry, request.model, { context: call });
  const mutation = {
    tenant,
    name,
    method: 'StartCanary',
    input: StartCanaryRequestSchema,
  };
  const row = await mutateDeployment(context, mutation, request, (em) =>
    start(em, tenant, name, model, weightPercent, limits),
  );
  logger.info({ tenant, name, canary: row.canaryModel, weight_percent: weightPercent }, 'a canary begins');
  return { deployment: deploymentReply(fleet, row) };
};
