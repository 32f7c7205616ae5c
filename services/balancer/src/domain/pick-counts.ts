import { pendingTokens } from '@landfall/common/balancing/pick.ts';
import type { Endpoint } from '@landfall/proto/landfall/balancer/v1/deployment_pb.js';
import type { Load } from '@landfall/proto/landfall/text/v1/generation_pb.js';

/** Picks since a replica's last report: what it is about to get and has not told of yet. */
export class PickCounts {
  readonly #since = new Map<string, { load: Load | undefined; picks: number }>();

  cost({ id, load, weight }: Endpoint): number {
    const known = this.#since.get(id);
    return pendingTokens(load, known && known.load === load ? known.picks : 0) / (weight || 1);
  }

  picked({ id, load }: Endpoint): void {
    const known = this.#since.get(id);
    if (known && known.load === load) known.picks++;
    else this.#since.set(id, { load, picks: 1 });
    // Replicas come and go; what is left of those that went is dropped now and then.
    if (this.#since.size > 1024) this.#since.clear();
  }
}
