import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import { UpdateDeploymentRequestSchema } from '@landfall/proto/landfall/balancer/v1/balancer_service_pb.js';
import type { BalancerContext, Route } from '../context.ts';
import { updateDeployment as update } from '../domain/deployments.ts';
import { mutateDeployment } from '../domain/mutation.ts';
import { deploymentReply } from '../domain/replies.ts';
import { type ResolvedModel, resolveModel } from '../domain/resolve.ts';
import { specOf } from '../domain/spec.ts';

export const updateDeployment: Route<'updateDeployment'> = (context) => async (request, call) => {
  const { fleet, registry, logger } = context;
  const { tenant } = call.identity;
  const { name } = request;
  const model = request.model ? await resolveModel(registry, request.model, { context: call }) : undefined;
  const spec = specOf(request);
  fleet.checkRuntime(spec.variant ?? '');
  if (model && !spec.alias) {
    const kept = await keptAlias(context, name, model, call);
    if (kept) spec.alias = kept;
  }
  const mutation = {
    tenant,
    name,
    method: 'UpdateDeployment',
    input: UpdateDeploymentRequestSchema,
  };
  const row = await mutateDeployment(context, mutation, request, (em) =>
    update(em, tenant, name, model, spec),
  );
  const { nextModel } = row;
  logger.info({ tenant, name, next_model: nextModel, replicas: row.replicas }, 'deployment updated');
  return { deployment: deploymentReply(fleet, row) };
};

/** The alias of a deployment that is told to serve the very version that it points at: it goes on being followed. */
async function keptAlias(
  { fleet, registry }: BalancerContext,
  name: string,
  { model }: ResolvedModel,
  call: CallContext,
): Promise<string | undefined> {
  const alias = fleet.deployments.peek(call.identity.tenant, name)?.alias;
  if (!alias) return undefined;
  const now = await resolveModel(registry, alias, { context: call }).catch(() => undefined);
  return now?.model === model ? alias : undefined;
}
