import { type Endpoint, EndpointState } from '@landfall/proto/landfall/balancer/v1/deployment_pb.js';
import type { Load } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import type { RpcChannel } from '../rpc/client.ts';
import { pendingTokens } from './pick.ts';

const FIRST_EJECTION_MS = 500;
const LONGEST_EJECTION_MS = 30_000;

/** One request on its way to an endpoint. */
export interface Attempt {
  readonly endpoint: BalancedEndpoint;
  /** The endpoint has answered: from here on its own reports count the request. */
  reported(load: Load | undefined): void;
  end(): void;
}

/** A replica as this process knows it: the balancer's view, its own calls, and what it has seen fail. */
export class BalancedEndpoint {
  readonly id: string;
  readonly address: string;
  readonly channel: RpcChannel;
  adapterLoaded = false;
  #state: EndpointState = EndpointState.UNSPECIFIED;
  #load: Load | undefined;
  #weight = 1;
  /** Own requests that no report of the replica counts yet. */
  #unreported = 0;
  #failures = 0;
  #ejectedUntilMs = 0;
  readonly #onDown = new Set<() => void>();

  constructor(endpoint: Endpoint, channel: RpcChannel) {
    this.id = endpoint.id;
    this.address = endpoint.address;
    this.channel = channel;
    this.update(endpoint);
  }

  /** Takes the balancer's newest view. */
  update({ state, load, weight, adapterLoaded }: Endpoint): void {
    this.#state = state;
    this.#load = load ?? this.#load;
    this.#weight = weight > 0 ? weight : 1;
    this.adapterLoaded = adapterLoaded;
  }

  get takesRequests(): boolean {
    return this.#state === EndpointState.READY;
  }

  /** The balancer has found that it does not answer. */
  get failed(): boolean {
    return this.#state === EndpointState.FAILED;
  }

  /** Milliseconds since 1970 before which it is left alone; 0 for none. */
  get ejectedUntilMs(): number {
    return this.#ejectedUntilMs;
  }

  /** Cost of one more request here, in tokens before it and in proportion to its weight. */
  get cost(): number {
    return pendingTokens(this.#load, this.#unreported) / this.#weight;
  }

  begin(): Attempt {
    let counted = true;
    this.#unreported++;
    const uncount = () => {
      if (counted) this.#unreported--;
      counted = false;
    };
    return {
      endpoint: this,
      reported: (load) => {
        uncount();
        if (load) this.#load = load;
      },
      end: uncount,
    };
  }

  succeeded(): void {
    this.#failures = 0;
    this.#ejectedUntilMs = 0;
  }

  /** Leaves it alone for a while, longer with each failure in a row, and not in step with other callers. */
  eject(): void {
    const ms = Math.min(LONGEST_EJECTION_MS, FIRST_EJECTION_MS * 2 ** this.#failures);
    this.#failures++;
    this.#ejectedUntilMs = Date.now() + ms * (0.75 + Math.random() / 2);
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
