import { chooseReplica } from '@landfall/common/balancing/choice.ts';
import { type Ask, askOfKeys, expectedMs } from '@landfall/common/balancing/cost.ts';
import { longestMatch } from '@landfall/common/balancing/prefix-keys.ts';
import type { Endpoint } from '@landfall/proto/landfall/balancer/v1/deployment_pb.js';
import type { Load } from '@landfall/proto/landfall/text/v1/generation_pb.js';

/** What was picked since a replica's last report. */
interface Unreported {
  load: Load | undefined;
  requests: number;
  promptTokens: number;
}

/**
 * Chooses among replicas for callers who pick one call at a time, as callers who hold a stream do for themselves, and
 * counts what each is about to get and has not told of yet.
 */
export class PickCounts {
  readonly #since = new Map<string, Unreported>();
  readonly #random: () => number;

  constructor(random: () => number = Math.random) {
    this.#random = random;
  }

  /**
   * The replica that would answer first, which counts as asked from now on.
   * @param prefixKeys of the prompt's beginnings; none where they are not known
   * @returns undefined for no endpoints
   */
  choose(endpoints: readonly Endpoint[], prefixKeys: readonly bigint[]): Endpoint | undefined {
    const ask = askOfKeys(prefixKeys);
    const traits = {
      cost: (each: Endpoint) => this.#cost(each, ask),
      holds: ({ adapterLoaded }: Endpoint) => adapterLoaded,
      caches: ({ load }: Endpoint) => longestMatch(prefixKeys, load?.cachedPrefixes ?? []) >= 0,
    };
    const chosen = chooseReplica(endpoints, traits, this.#random);
    if (chosen) this.#picked(chosen, ask);
    return chosen;
  }

  #cost(endpoint: Endpoint, ask: Ask): number {
    const { requests, promptTokens } = this.#unreported(endpoint);
    return (
      expectedMs(endpoint.load, { requests, promptTokens, ownPromptTokens: 0 }, ask) / (endpoint.weight || 1)
    );
  }

  #unreported({ id, load }: Endpoint): Unreported {
    const known = this.#since.get(id);
    return known && known.load === load ? known : { load, requests: 0, promptTokens: 0 };
  }

  #picked(endpoint: Endpoint, { promptTokens }: Ask): void {
    const known = this.#unreported(endpoint);
    // Replicas come and go; what is left of those that went is dropped now and then.
    if (this.#since.size > 1024) this.#since.clear();
    this.#since.set(endpoint.id, {
      load: known.load,
      requests: known.requests + 1,
      promptTokens: known.promptTokens + promptTokens,
    });
  }
}
