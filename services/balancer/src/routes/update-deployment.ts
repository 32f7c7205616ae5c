import { create } from '@bufbuild/protobuf';
import {
  UpdateDeploymentRequestSchema,
  UpdateDeploymentResponseSchema,
} from '@landfall/proto/landfall/balancer/v1/balancer_service_pb.js';
import type { Route } from '../context.ts';
import { findDeployment, updateDeployment as update } from '../domain/deployments.ts';
import { repeatable } from '../domain/repeatable.ts';
import { deploymentReply } from '../domain/replies.ts';
import { resolveModel } from '../domain/resolve.ts';

export const updateDeployment: Route<'updateDeployment'> =
  ({ database, fleet, registry, logger }) =>
  async (request, call) => {
    const { tenant } = call.identity;
    const { name, requestId, replicas } = request;
    const model = request.model ? await resolveModel(registry, request.model, { context: call }) : undefined;
    const repeat = {
      tenant,
      method: 'UpdateDeployment',
      requestId,
      input: UpdateDeploymentRequestSchema,
      output: UpdateDeploymentResponseSchema,
    };
    await repeatable(database, repeat, request, async (em) => {
      const changed = await update(em, tenant, name, model, replicas || undefined);
      return create(UpdateDeploymentResponseSchema, {
        deployment: { name, revision: BigInt(changed.revision) },
      });
    });
    const row = await database.read((em) => findDeployment(em, tenant, name));
    fleet.apply(row);
    const { nextModel } = row;
    logger.info({ tenant, name, next_model: nextModel, replicas: row.replicas }, 'deployment updated');
    return { deployment: deploymentReply(fleet, row) };
  };
