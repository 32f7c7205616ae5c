import { UndoDeploymentRequestSchema } from '@landfall/proto/landfall/balancer/v1/balancer_service_pb.js';
import type { Route } from '../context.ts';
import { mutateDeployment } from '../domain/mutation.ts';
import { deploymentReply } from '../domain/replies.ts';
import { undoDeployment as undo } from '../domain/undo.ts';

export const undoDeployment: Route<'undoDeployment'> = (context) => async (request, call) => {
  const { tenant } = call.identity;
  const { name } = request;
  const mutation = {
    tenant,
    name,
    method: 'UndoDeployment',
    input: UndoDeploymentRequestSchema,
  };
  const row = await mutateDeployment(context, mutation, request, (em) =>
    undo(em, tenant, name, Number(request.generation)),
  );
  context.logger.info({ tenant, name, model: row.nextModel || row.model }, 'a deployment goes back');
  return { deployment: deploymentReply(context.fleet, row) };
};
