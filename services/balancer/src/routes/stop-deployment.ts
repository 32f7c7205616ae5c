import { create } from '@bufbuild/protobuf';
import {
  StopDeploymentRequestSchema,
  StopDeploymentResponseSchema,
} from '@landfall/proto/landfall/balancer/v1/balancer_service_pb.js';
import type { Route } from '../context.ts';
import { findDeployment, stopDeployment as stop } from '../domain/deployments.ts';
import { repeatable } from '../domain/repeatable.ts';
import { deploymentReply } from '../domain/replies.ts';

export const stopDeployment: Route<'stopDeployment'> =
  ({ database, fleet, logger }) =>
  async (request, { identity: { tenant } }) => {
    const { name, requestId } = request;
    const repeat = {
      tenant,
      method: 'StopDeployment',
      requestId,
      input: StopDeploymentRequestSchema,
      output: StopDeploymentResponseSchema,
    };
    await repeatable(database, repeat, request, async (em) => {
      const stopped = await stop(em, tenant, name);
      return create(StopDeploymentResponseSchema, {
        deployment: { name, revision: BigInt(stopped.revision) },
      });
    });
    const row = await database.read((em) => findDeployment(em, tenant, name));
    fleet.apply(row);
    logger.info({ tenant, name }, 'deployment stopped');
    return { deployment: deploymentReply(fleet, row) };
  };
