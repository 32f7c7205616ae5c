import type { Endpoint } from '@landfall/proto/landfall/balancer/v1/deployment_pb.js';
import type { RpcChannel } from '../rpc/client.ts';
import { EndpointTally } from './tally.ts';

/** A replica that can be called: where it is, and what this process knows of it. */
export class BalancedEndpoint {
  readonly id: string;
  readonly address: string;
  readonly channel: RpcChannel;
  readonly tally = new EndpointTally();
  readonly #onDown = new Set<() => void>();

  constructor({ id, address }: Endpoint, channel: RpcChannel) {
    this.id = id;
    this.address = address;
    this.channel = channel;
  }

  /** Calls back when it does not answer or is gone, and another one does. Returns how to stop listening. */
  onDown(listener: () => void): () => void {
    this.#onDown.add(listener);
    return () => this.#onDown.delete(listener);
  }

  giveUp(): void {
    for (const listener of [...this.#onDown]) listener();
  }
}
