import { unimplemented } from '@landfall/common/errors/errors.ts';
import type { RpcChannel } from '@landfall/common/rpc/client.ts';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { type Destination, publicServices } from '../edge/services.ts';
import type { ReadItem } from './by-id.ts';

/** Reads items where they are, as the gateway itself within a tenant. */
export function itemReader(
  channels: Readonly<Partial<Record<Destination, RpcChannel | undefined>>>,
  service: string,
): ReadItem {
  const destinations = new Map(publicServices);
  return (method, request, tenant, signal) => {
    const channel = channels[destinations.get(method.parent)!];
    if (!channel) throw unimplemented(`${method.parent.typeName} is not part of this mesh`);
    const identity = { subject: `service:${service}`, tenant, role: Role.SERVICE };
    return channel.unary(method, request, { identity, signal });
  };
}
