import { create } from '@bufbuild/protobuf';
import {
  DeployRequestSchema,
  DeployResponseSchema,
} from '@landfall/proto/landfall/balancer/v1/balancer_service_pb.js';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import type { Route } from '../context.ts';
import { declareDeployment, findDeployment } from '../domain/deployments.ts';
import { repeatable } from '../domain/repeatable.ts';
import { deploymentReply } from '../domain/replies.ts';
import { resolveModel } from '../domain/resolve.ts';
import { draining } from '../errors.ts';

export const deploy: Route<'deploy'> = (context) => async (request, call) => {
  const { database, fleet, registry, logger } = context;
  const { tenant } = call.identity;
  const { name, requestId, replicas, waitReady } = request;
  // The mesh's own services may serve a draft, to measure it before it is registered.
  const drafts = call.identity.role === Role.SERVICE;
  const model = await resolveModel(registry, request.model, { context: call }, drafts);
  const repeat = {
    tenant,
    method: 'Deploy',
    requestId,
    input: DeployRequestSchema,
    output: DeployResponseSchema,
  };
  await repeatable(database, repeat, request, async (em) => {
    const declared = await declareDeployment(em, tenant, name, model, replicas || 1);
    return create(DeployResponseSchema, { deployment: { name, revision: BigInt(declared.revision) } });
  });
  // Read again: a repeated request tells how it stands now, and finds what was changed since.
  const row = await database.read((em) => findDeployment(em, tenant, name));
  fleet.apply(row);
  logger.info({ tenant, name, model: row.model, base: row.base, replicas: row.replicas }, 'deployed');
  if (!waitReady || row.state === 'stopped') return { deployment: deploymentReply(fleet, row) };
  const signal = AbortSignal.any([call.signal, context.draining]);
  try {
    return { deployment: deploymentReply(fleet, await fleet.ready(tenant, name, signal)) };
  } catch (error) {
    if (context.draining.aborted && !call.signal.aborted) throw draining();
    throw error;
  }
};
