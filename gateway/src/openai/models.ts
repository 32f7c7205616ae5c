import { timestampMs } from '@bufbuild/protobuf/wkt';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import { BalancerService } from '@landfall/proto/landfall/balancer/v1/balancer_service_pb.js';
import type { GatewayContext } from '../context.ts';
import type { EdgeResponse } from '../edge/one-port.ts';
import { sendJson } from './http.ts';

/** `GET /v1/models`: deployments; an adapter's names its base as `parent`, as vLLM lists them. */
export async function listModels(
  context: GatewayContext,
  response: EdgeResponse,
  call: CallContext,
): Promise<void> {
  const balancer = context.channels.balancer.client(BalancerService);
  const data: object[] = [];
  let pageToken = '';
  do {
    const page = await balancer.listDeployments({ pageSize: 500, pageToken }, { context: call });
    for (const { name, model, base, createTime } of page.deployments) {
      data.push({
        id: name,
        object: 'model',
        created: createTime ? Math.floor(timestampMs(createTime) / 1000) : 0,
        owned_by: call.identity.tenant,
        root: model,
        parent: base === model ? null : base,
      });
    }
    pageToken = page.nextPageToken;
  } while (pageToken);
  sendJson(response, 200, { object: 'list', data });
}
