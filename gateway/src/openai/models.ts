import { create } from '@bufbuild/protobuf';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import { notFound } from '@landfall/common/errors/errors.ts';
import { levelOn } from '@landfall/common/identity/check.ts';
import { roleReaches } from '@landfall/common/identity/identity.ts';
import { resourceNamed } from '@landfall/common/identity/resources.ts';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import {
  BalancerService,
  type ListDeploymentsRequest,
  ListDeploymentsRequestSchema,
  type ListDeploymentsResponse,
  ListDeploymentsResponseSchema,
} from '@landfall/proto/landfall/balancer/v1/balancer_service_pb.js';
import type { Deployment } from '@landfall/proto/landfall/balancer/v1/deployment_pb.js';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import type { GatewayContext } from '../context.ts';
import type { Governed } from '../edge/governance.ts';
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
  governed: Governed,
): Promise<void> {
  const data = [...(await models(context, call, governed)).values()];
  sendJson(response, 200, { object: 'list', data });
}

/** `GET /v1/models/{id}`. */
export async function getModel(
  context: GatewayContext,
  response: EdgeResponse,
  call: CallContext,
  governed: Governed,
  id: string,
): Promise<void> {
  const model = isModelName(id) ? (await models(context, call, governed)).get(id) : undefined;
  if (!model) throw notFound('there is no such model; GET /v1/models lists them');
  sendJson(response, 200, model);
}

async function models(
  context: GatewayContext,
  call: CallContext,
  governed: Governed,
): Promise<Map<string, Model>> {
  const asked = create(ListDeploymentsRequestSchema, { pageSize: 500 });
  const reply = await governed.unary(asked, (request) =>
    deployments(context, call, request as ListDeploymentsRequest),
  );
  const found = new Map<string, Model>();
  for (const deployment of (reply as ListDeploymentsResponse).deployments) {
    for (const model of modelsOf(deployment, call.identity.tenant)) {
      // A replica may hold adapters of which not everybody who may ask it is to know.
      const adapter = resourceNamed(model.id, undefined);
      const known = !adapter || roleReaches(levelOn(governed.caller, adapter).level, Role.VIEWER);
      if (known && !found.has(model.id)) found.set(model.id, model);
    }
  }
  return found;
}

/** All pages as one. */
async function deployments(
  { channels }: GatewayContext,
  call: CallContext,
  request: ListDeploymentsRequest,
): Promise<ListDeploymentsResponse> {
  const balancer = channels.balancer.client(BalancerService);
  const all = create(ListDeploymentsResponseSchema);
  let pageToken = '';
  do {
    const page = await balancer.listDeployments({ ...request, pageToken }, { context: call });
    all.deployments.push(...page.deployments);
    pageToken = page.nextPageToken;
  } while (pageToken);
  return all;
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
