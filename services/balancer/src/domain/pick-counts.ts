import { lessLoadedOfTwo, pendingTokens } from '@landfall/common/balancing/pick.ts';
import { longestMatch, PREFIX_BYTES } from '@landfall/common/balancing/prefix-keys.ts';
import type { Endpoint } from '@landfall/proto/landfall/balancer/v1/deployment_pb.js';
import type { Load } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import type { ResolvedModel } from './resolve.ts';

/** What loading an adapter first is worth, in tokens of work that a request waits for. */
const ADAPTER_TOKENS = 1024;
const BYTES_PER_TOKEN = 4;

/** What is asked for, and the keys of its prompt's beginnings; none where they are not known. */
export interface PickedFor {
  target: ResolvedModel;
  prefixKeys: readonly bigint[];
}

/** Picks since a replica's last report: what it is about to get and has not told of yet. */
export class PickCounts {
  readonly #since = new Map<string, { load: Load | undefined; picks: number }>();

  /**
   * The less costly of two at random, of those that have the adapter and the prompt's beginning and of the others: few
   * have them where there are many, and two of all would seldom meet one.
   */
  choose(endpoints: readonly Endpoint[], asked: PickedFor): Endpoint | undefined {
    const has = (each: Endpoint) =>
      !lacksAdapter(each, asked) && (asked.prefixKeys.length === 0 || savedTokens(each, asked) > 0);
    const cost = (each: Endpoint) => this.cost(each, asked);
    const groups = [endpoints.filter(has), endpoints.filter((each) => !has(each))];
    const best = groups.map((group) => lessLoadedOfTwo(group, cost)).filter((each) => each !== undefined);
    return best.sort((one, other) => cost(one) - cost(other))[0];
  }

  /**
   * Tokens of work before a request would be answered: those in hand, more where its adapter is not loaded yet, less
   * where the beginning of its prompt is cached.
   */
  cost(endpoint: Endpoint, asked: PickedFor): number {
    const { id, load, weight } = endpoint;
    const known = this.#since.get(id);
    const pending = pendingTokens(load, known && known.load === load ? known.picks : 0);
    const missing = lacksAdapter(endpoint, asked) ? ADAPTER_TOKENS : 0;
    return (pending + missing - savedTokens(endpoint, asked)) / (weight || 1);
  }

  picked({ id, load }: Endpoint): void {
    const known = this.#since.get(id);
    if (known && known.load === load) known.picks++;
    else this.#since.set(id, { load, picks: 1 });
    // Replicas come and go; what is left of those that went is dropped now and then.
    if (this.#since.size > 1024) this.#since.clear();
  }
}

function lacksAdapter({ adapterLoaded }: Endpoint, { target }: PickedFor): boolean {
  return target.model !== target.base && !adapterLoaded;
}

function savedTokens({ load }: Endpoint, { prefixKeys }: PickedFor): number {
  const match = prefixKeys.length > 0 ? longestMatch(prefixKeys, load?.cachedPrefixes ?? []) : -1;
  return match < 0 ? 0 : PREFIX_BYTES[match]! / BYTES_PER_TOKEN;
}
