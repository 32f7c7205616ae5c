import { pendingTokens } from '@landfall/common/balancing/pick.ts';
import { longestMatch, PREFIX_BYTES } from '@landfall/common/balancing/prefix-keys.ts';
import type { Endpoint } from '@landfall/proto/landfall/balancer/v1/deployment_pb.js';
import type { Load } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import type { ResolvedModel } from './resolve.ts';

/** What loading an adapter first is worth, in tokens of work that a request waits for. */
const ADAPTER_TOKENS = 1024;
const BYTES_PER_TOKEN = 4;

/** Picks since a replica's last report: what it is about to get and has not told of yet. */
export class PickCounts {
  readonly #since = new Map<string, { load: Load | undefined; picks: number }>();

  /**
   * Tokens of work before a request would be answered: those in hand, more where its adapter is not loaded yet, less
   * where the beginning of its prompt is cached.
   */
  cost({ id, load, weight, adapterLoaded }: Endpoint, target: ResolvedModel, prefixKeys: bigint[]): number {
    const known = this.#since.get(id);
    const pending = pendingTokens(load, known && known.load === load ? known.picks : 0);
    const missing = target.model === target.base || adapterLoaded ? 0 : ADAPTER_TOKENS;
    const match = prefixKeys.length > 0 ? longestMatch(prefixKeys, load?.cachedPrefixes ?? []) : -1;
    const saved = match < 0 ? 0 : PREFIX_BYTES[match]! / BYTES_PER_TOKEN;
    return (pending + missing - saved) / (weight || 1);
  }

  picked({ id, load }: Endpoint): void {
    const known = this.#since.get(id);
    if (known && known.load === load) known.picks++;
    else this.#since.set(id, { load, picks: 1 });
    // Replicas come and go; what is left of those that went is dropped now and then.
    if (this.#since.size > 1024) this.#since.clear();
  }
}
