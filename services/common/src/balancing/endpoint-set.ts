import { setTimeout as delay } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import type { WatchEndpointsResponse } from '@landfall/proto/landfall/balancer/v1/balancer_service_pb.js';
import type { Endpoint } from '@landfall/proto/landfall/balancer/v1/deployment_pb.js';
import { cancelled, deadlineExceeded, LandfallError, unavailable } from '../errors/errors.ts';
import type { Logger } from '../log/logger.ts';
import type { RpcChannel } from '../rpc/client.ts';
import { RetryBudget } from '../rpc/retry-budget.ts';
import { BalancedEndpoint } from './endpoint.ts';
import { BalancingPolicy } from './policy.ts';
import { type Attempt, Variant } from './variant.ts';
import type { Wish } from './wish.ts';

export interface EndpointSetOptions {
  /** For people: what the endpoints serve. */
  name: string;
  /** Opens the balancer's stream. */
  watch: (signal: AbortSignal) => AsyncIterable<WatchEndpointsResponse>;
  /** A connection to a replica, and back. */
  connect: (address: string) => RpcChannel;
  disconnect: (address: string) => void;
  logger: Logger;
  /** Called once when the balancer says that there is no such target. */
  onRefused: () => void;
}

const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 2000;
const RETRY_AFTER_MS = 1000;
/** A probe that is under way is waited for this long before it is looked again who may be asked. */
const LOOK_AGAIN_MS = 250;
/** Codes with which the balancer refuses a target for good; anything else is its own trouble and passes. */
const REFUSED = new Set([
  status.NOT_FOUND,
  status.INVALID_ARGUMENT,
  status.PERMISSION_DENIED,
  status.FAILED_PRECONDITION,
]);

/**
 * The endpoints of one target, followed over the balancer's stream. While the balancer is away the last known ones
 * go on being used.
 */
export class EndpointSet {
  readonly budget = new RetryBudget(0.2);
  readonly policy = new BalancingPolicy();
  readonly #options: EndpointSetOptions;
  readonly #endpoints = new Map<string, BalancedEndpoint>();
  readonly #stopping = new AbortController();
  #stable = new Variant('stable', '', [], this.#endpoints);
  #canary: { variant: Variant; share: number } | undefined;
  #overflow: { variant: Variant; takesPersonalData: boolean } | undefined;
  #refusal: LandfallError | undefined;
  #heard = false;
  #changed = Promise.withResolvers<void>();

  constructor(options: EndpointSetOptions) {
    this.#options = options;
    void this.#follow();
  }

  /** Ends the stream; calls that still wait for an endpoint fail. */
  close(): void {
    this.#stopping.abort();
    this.#refusal ??= unavailable(`${this.#options.name} is followed no more; ask again`);
    for (const endpoint of this.#endpoints.values()) this.#drop(endpoint);
    this.#wake();
  }

  /**
   * The best endpoint that answers by the policy, other than those tried before where there is a choice; waits for one
   * until `untilMs` (since 1970). It counts as loaded from this moment on, so that callers who have waited together do
   * not all run to the same one.
   * @throws LandfallError UNAVAILABLE with RetryInfo when none came up in time; what the balancer says of a target
   * that it does not know; CANCELLED or the signal's own error when it fires.
   */
  async acquire(
    wish: Wish,
    tried: ReadonlySet<string>,
    untilMs: number,
    signal?: AbortSignal,
  ): Promise<Attempt> {
    for (;;) {
      if (signal?.aborted) throw abortError(signal);
      if (this.#refusal) throw this.#refusal;
      const nowMs = Date.now();
      const attempt = this.#begin(wish, tried, nowMs);
      if (attempt) return attempt;
      if (nowMs >= untilMs) throw this.#none();
      await this.#change(Math.min(untilMs, this.#nextReturnMs(nowMs)) - nowMs, signal);
    }
  }

  /** All endpoints of the target's own model that take requests; waits for one as acquire does. */
  async all(untilMs: number, signal?: AbortSignal): Promise<BalancedEndpoint[]> {
    for (;;) {
      if (signal?.aborted) throw abortError(signal);
      if (this.#refusal) throw this.#refusal;
      const endpoints = this.#stable.members.map(({ endpoint }) => endpoint);
      const taking = endpoints.filter(({ tally }) => tally.takesRequests);
      if (taking.length > 0) return taking;
      const nowMs = Date.now();
      if (nowMs >= untilMs) throw this.#none();
      await this.#change(untilMs - nowMs, signal);
    }
  }

  /** The model that a call of this place would get; undefined while nothing is known of the target. */
  model(wish: Pick<Wish, 'place'>): string | undefined {
    if (!this.#heard || this.#refusal) return undefined;
    return this.#canary && wish.place < this.#canary.share ? this.#canary.variant.model : this.#stable.model;
  }

  /** The same when it is known. @throws LandfallError as acquire */
  async known(wish: Pick<Wish, 'place'>, untilMs: number, signal?: AbortSignal): Promise<string> {
    for (;;) {
      if (signal?.aborted) throw abortError(signal);
      if (this.#refusal) throw this.#refusal;
      const known = this.model(wish);
      if (known !== undefined) return known;
      const leftMs = untilMs - Date.now();
      if (leftMs <= 0) throw this.#none();
      await this.#change(leftMs, signal);
    }
  }

  /** Whether a canary gets a share of the calls, so that outcomes are of use. */
  get hasCanary(): boolean {
    return this.#canary !== undefined;
  }

  /** Whether there is another one that takes requests. */
  hasOther(tried: ReadonlySet<string>): boolean {
    return this.#stable.hasOther(tried);
  }

  /** A place elsewhere for a request that the deployment's own replicas have no room for, where it may leave. */
  overflow(wish: Wish, tried: ReadonlySet<string>, nowMs: number): Attempt | undefined {
    if (!this.#overflow || !this.#stable.isSaturated(nowMs)) return undefined;
    const { variant, takesPersonalData } = this.#overflow;
    if (!takesPersonalData && !wish.mayLeave()) return undefined;
    return variant.begin(this.policy, wish, tried, nowMs);
  }

  #begin(wish: Wish, tried: ReadonlySet<string>, nowMs: number): Attempt | undefined {
    if (this.#canary && wish.place < this.#canary.share && this.#canary.variant.hasOther(tried)) {
      const attempt = this.#canary.variant.begin(this.policy, wish, tried, nowMs);
      if (attempt) return attempt;
    }
    return this.overflow(wish, tried, nowMs) ?? this.#stable.begin(this.policy, wish, tried, nowMs);
  }

  /** When an endpoint that is left alone may be tried again. */
  #nextReturnMs(nowMs: number): number {
    const taking = [...this.#endpoints.values()].map(({ tally }) => tally).filter((t) => t.takesRequests);
    const returns = taking.map(({ ejectedUntilMs }) =>
      ejectedUntilMs > nowMs ? ejectedUntilMs : nowMs + LOOK_AGAIN_MS,
    );
    return Math.min(...returns, Number.POSITIVE_INFINITY);
  }

  #none(): LandfallError {
    const { name } = this.#options;
    const options = { retryAfterMs: RETRY_AFTER_MS, reason: 'NO_ENDPOINT' };
    return this.#heard
      ? unavailable(`no replica of ${name} answers; GetDeployment tells why`, options)
      : unavailable(`the balancer does not answer, so no replica of ${name} is known`, options);
  }

  async #change(ms: number, signal: AbortSignal | undefined): Promise<void> {
    const over = new AbortController();
    const signals = signal ? [over.signal, signal] : [over.signal];
    const timer = delay(Math.max(1, Math.min(ms, 2 ** 30)), undefined, { signal: AbortSignal.any(signals) });
    await Promise.race([this.#changed.promise, timer.catch(() => {})]);
    over.abort();
  }

  async #follow(): Promise<void> {
    const { signal } = this.#stopping;
    let pauseMs = FIRST_PAUSE_MS;
    while (!signal.aborted) {
      try {
        for await (const snapshot of this.#options.watch(signal)) {
          pauseMs = FIRST_PAUSE_MS;
          this.#update(snapshot);
        }
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof LandfallError && REFUSED.has(error.code)) return this.#refuse(error);
        this.#options.logger.warn(
          { err: error, target: this.#options.name, retry_ms: pauseMs },
          'the endpoints are watched again; those known go on being used',
        );
      }
      const jitter = 0.5 + Math.random() / 2;
      await delay(pauseMs * jitter, undefined, { signal, ref: false }).catch(() => {});
      pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS);
    }
  }

  #update({ endpoints, model, canary, overflow }: WatchEndpointsResponse): void {
    this.#heard = true;
    this.#know([...endpoints, ...(canary?.endpoints ?? []), ...(overflow?.endpoints ?? [])]);
    this.#stable = new Variant('stable', model, endpoints, this.#endpoints);
    this.#canary = canary && {
      variant: new Variant('canary', canary.model, canary.endpoints, this.#endpoints),
      share: canary.weightPercent / 100,
    };
    this.#overflow = overflow && {
      variant: new Variant('overflow', overflow.model, overflow.endpoints, this.#endpoints),
      takesPersonalData: overflow.allowPersonalData,
    };
    for (const endpoint of this.#endpoints.values()) if (endpoint.tally.failed) this.#giveUp(endpoint);
    this.#wake();
  }

  /** Takes the balancer's newest view of all endpoints, and drops those that it names no more. */
  #know(endpoints: readonly Endpoint[]): void {
    const ids = new Set(endpoints.map(({ id }) => id));
    for (const endpoint of this.#endpoints.values()) if (!ids.has(endpoint.id)) this.#drop(endpoint);
    for (const view of endpoints) {
      if (!this.#endpoints.has(view.id) && view.address) {
        const channel = this.#options.connect(view.address);
        this.#endpoints.set(view.id, new BalancedEndpoint(view, channel));
      }
      this.#endpoints.get(view.id)?.tally.update(view, Date.now());
    }
  }

  /** Lets calls that wait for an endpoint go elsewhere, where there is somewhere: a busy one may still answer them. */
  #giveUp(endpoint: BalancedEndpoint): void {
    const others = [...this.#endpoints.values()].some(
      (each) => each !== endpoint && each.tally.takesRequests,
    );
    if (others) endpoint.giveUp();
  }

  #drop(endpoint: BalancedEndpoint): void {
    this.#endpoints.delete(endpoint.id);
    this.#giveUp(endpoint);
    this.#options.disconnect(endpoint.address);
  }

  #refuse(error: LandfallError): void {
    this.#refusal = error;
    this.close();
    this.#options.onRefused();
  }

  #wake(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers<void>();
  }
}

/** What a fired signal means to the one who waited. */
export function abortError(signal: AbortSignal): LandfallError {
  const { reason } = signal;
  if (reason instanceof LandfallError) return reason;
  if (reason instanceof DOMException && reason.name === 'TimeoutError')
    return deadlineExceeded('the deadline has passed');
  return cancelled('the caller has gone', { cause: reason });
}
