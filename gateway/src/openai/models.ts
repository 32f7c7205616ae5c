import { timestampMs } from '@bufbuild/protobuf/wkt';
import { notFound } from '@landfall/common/errors/errors.ts';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import { BalancerService } from '@landfall/proto/landfall/balancer/v1/balancer_service_pb.js';
import type { Deployment } from '@landfall/proto/landfall/balancer/v1/deployment_pb.js';
import type { GatewayContext } from '../context.ts';
import type { EdgeResponse } from '../edge/one-port.ts';
import { isModelName } from './body.ts';
import { sendJson } from './http.ts';

/** A `model` object; an adapter's names its base as `parent`, as vLLM lists them. */
interface Model {
  id: string;
  object: 'model';
  created: number;
  owned_by: string;
  root: string;
  parent: string | null;
}

/** `GET /v1/models`: deployments by name, and by `models:/name/version` the adapters that their replicas hold. */
export async function listModels(
  context: GatewayContext,
  response: EdgeResponse,
  call: CallContext,
): Promise<void> {
  sendJson(response, 200, { object: 'list', data: [...(await models(context, call)).values()] });
}

/** `GET /v1/models/{id}`. */
export async function getModel(
  context: GatewayContext,
  response: EdgeResponse,
  call: CallContext,
  id: string,
): Promise<void> {
  const model = isModelName(id) ? (await models(context, call)).get(id) : undefined;
  if (!model) throw notFound('there is no such model; GET /v1/models lists them');
  sendJson(response, 200, model);
}

async function models({ channels }: GatewayContext, call: CallContext): Promise<Map<string, Model>> {
  const balancer = channels.balancer.client(BalancerService);
  const found = new Map<string, Model>();
  let pageToken = '';
  do {
    const page = await balancer.listDeployments({ pageSize: 500, pageToken }, { context: call });
    for (const deployment of page.deployments) {
      for (const model of modelsOf(deployment, call.identity.tenant)) {
        if (!found.has(model.id)) found.set(model.id, model);
      }
    }
    pageToken = page.nextPageToken;
  } while (pageToken);
  return found;
}

function* modelsOf(
  { name, model, base, createTime, endpoints }: Deployment,
  tenant: string,
): Generator<Model> {
  const common = {
    object: 'model' as const,
    created: createTime ? Math.floor(timestampMs(createTime) / 1000) : 0,
    owned_by: tenant,
  };
  yield { id: name, ...common, root: model, parent: base === model ? null : base };
  for (const { load } of endpoints) {
    for (const adapter of load?.adapters ?? []) yield { id: adapter, ...common, root: adapter, parent: base };
  }
}
