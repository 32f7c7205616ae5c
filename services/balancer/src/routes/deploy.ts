import { DeployRequestSchema } from '@landfall/proto/landfall/balancer/v1/balancer_service_pb.js';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import type { Route } from '../context.ts';
import { declareDeployment } from '../domain/deployments.ts';
import { mutateDeployment } from '../domain/mutation.ts';
import { deploymentReply } from '../domain/replies.ts';
import { resolveModel } from '../domain/resolve.ts';
import { specOf } from '../domain/spec.ts';
import { draining } from '../errors.ts';

export const deploy: Route<'deploy'> = (context) => async (request, call) => {
  const { fleet, registry, logger } = context;
  const { tenant } = call.identity;
  const { name, waitReady } = request;
  const spec = specOf(request);
  fleet.checkRuntime(spec.variant ?? '');
  // The mesh's own services may serve a draft, to measure it before it is registered.
  const drafts = call.identity.role === Role.SERVICE;
  const model = await resolveModel(registry, request.model, { context: call }, drafts);
  const mutation = {
    tenant,
    name,
    method: 'Deploy',
    input: DeployRequestSchema,
  };
  const row = await mutateDeployment(context, mutation, request, (em) =>
    declareDeployment(em, tenant, name, model, spec),
  );
  logger.info({ tenant, name, model: row.model, base: row.base, replicas: row.replicas }, 'deployed');
  if (!waitReady || row.state === 'stopped') return { deployment: deploymentReply(fleet, row) };
  const signal = AbortSignal.any([call.signal, context.draining]);
  try {
    return { deployment: deploymentReply(fleet, await fleet.whenReady(tenant, name, signal)) };
  } catch (error) {
    if (context.draining.aborted && !call.signal.aborted) throw draining();
    throw error;
  }
};
