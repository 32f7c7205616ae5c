import { create } from '@bufbuild/protobuf';
import { type Endpoint, EndpointSchema } from '@landfall/proto/landfall/balancer/v1/deployment_pb.js';
import type { Replica } from './replica.ts';

/** A replica as callers of a model see it. */
export function endpointReply(replica: Replica, model: string): Endpoint {
  const { id, address, pid, restarts } = replica.row;
  const { load } = replica.link;
  return create(EndpointSchema, {
    id,
    address,
    state: replica.state,
    ...(load ? { load } : {}),
    weight: 1,
    pid: BigInt(pid),
    restarts,
    adapterLoaded: replica.holds(model),
    message: replica.retirement ? `it is being replaced: ${replica.retirement.reason}` : '',
  });
}
