import type { Endpoint } from '@landfall/proto/landfall/balancer/v1/deployment_pb.js';
import type { BalancedEndpoint } from './endpoint.ts';
import type { BalancingPolicy, Candidate } from './policy.ts';
import type { Passage } from './tally.ts';
import type { Wish } from './wish.ts';

/** The model as declared, the one that is tried beside it, or replicas elsewhere for what these can't take. */
export type VariantKind = 'stable' | 'canary' | 'overflow';

/** An endpoint in its part; the same replica may have several, since adapters share their base's. */
export interface Member extends Candidate {
  readonly endpoint: BalancedEndpoint;
}

/** One request on its way to an endpoint. */
export interface Attempt {
  readonly endpoint: BalancedEndpoint;
  readonly passage: Passage;
  readonly variant: Variant;
}

/** Endpoints that answer with one model. */
export class Variant {
  readonly kind: VariantKind;
  /** `models:/name/version` to ask them for. */
  readonly model: string;
  readonly members: readonly Member[];

  constructor(
    kind: VariantKind,
    model: string,
    endpoints: readonly Endpoint[],
    known: ReadonlyMap<string, BalancedEndpoint>,
  ) {
    this.kind = kind;
    this.model = model;
    this.members = endpoints.flatMap(({ id, adapterLoaded }) => {
      const endpoint = known.get(id);
      return endpoint ? [{ endpoint, tally: endpoint.tally, adapterLoaded }] : [];
    });
  }

  /** The best endpoint now, other than those tried before where there is a choice. */
  begin(policy: BalancingPolicy, wish: Wish, tried: ReadonlySet<string>, nowMs: number): Attempt | undefined {
    const ask = wish.ask(this.model);
    const untried = this.members.filter(({ endpoint }) => !tried.has(endpoint.id));
    const chosen = policy.choose(untried, ask, nowMs) ?? policy.choose(this.members, ask, nowMs);
    if (!chosen) return undefined;
    const { endpoint, tally } = chosen;
    return { endpoint, passage: tally.begin(nowMs, ask), variant: this };
  }

  /** Whether there is one that takes requests and was not tried. */
  hasOther(tried: ReadonlySet<string>): boolean {
    return this.members.some(({ endpoint, tally }) => tally.takesRequests && !tried.has(endpoint.id));
  }

  /** Whether nobody here would take one more request at once. */
  isSaturated(nowMs: number): boolean {
    return this.members.every(({ tally }) => !tally.takesRequests || tally.isSaturated(nowMs));
  }
}
