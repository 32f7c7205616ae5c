import { setTimeout as delay } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import type { WatchEndpointsResponse } from '@landfall/proto/landfall/balancer/v1/balancer_service_pb.js';
import { cancelled, deadlineExceeded, LandfallError, unavailable } from '../errors/errors.ts';
import type { Logger } from '../log/logger.ts';
import type { RpcChannel } from '../rpc/client.ts';
import { RetryBudget } from '../rpc/retry-budget.ts';
import { type Attempt, BalancedEndpoint } from './endpoint.ts';
import { lessLoadedOfTwo } from './pick.ts';

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
  readonly #options: EndpointSetOptions;
  readonly #endpoints = new Map<string, BalancedEndpoint>();
  readonly #stopping = new AbortController();
  #model = '';
  #refusal: LandfallError | undefined;
  #heard = false;
  #changed = Promise.withResolvers<void>();

  constructor(options: EndpointSetOptions) {
    this.#options = options;
    void this.#follow();
  }

  /** `models:/name/version` to ask the endpoints for; known once an endpoint was acquired. */
  get model(): string {
    return this.#model;
  }

  get size(): number {
    return this.#endpoints.size;
  }

  /** Ends the stream; calls that still wait for an endpoint fail. */
  close(): void {
    this.#stopping.abort();
    this.#refusal ??= unavailable(`${this.#options.name} is followed no more; ask again`);
    for (const endpoint of this.#endpoints.values()) this.#drop(endpoint);
    this.#wake();
  }

  /**
   * The less loaded of two random endpoints that answer, other than those tried before where there is a choice;
   * waits for one until `untilMs` (since 1970). It counts as loaded from this moment on, so that callers who have
   * waited together do not all run to the same one.
   * @throws LandfallError UNAVAILABLE with RetryInfo when none came up in time; what the balancer says of a target
   * that it does not know; CANCELLED or the signal's own error when it fires.
   */
  async acquire(tried: ReadonlySet<string>, untilMs: number, signal?: AbortSignal): Promise<Attempt> {
    for (;;) {
      if (signal?.aborted) throw abortError(signal);
      if (this.#refusal) throw this.#refusal;
      const nowMs = Date.now();
      const endpoint = this.#choose(tried, nowMs);
      if (endpoint) return endpoint.begin();
      if (nowMs >= untilMs) throw this.#none();
      await this.#change(Math.min(untilMs, this.#nextReturnMs(nowMs)) - nowMs, signal);
    }
  }

  #choose(tried: ReadonlySet<string>, nowMs: number): BalancedEndpoint | undefined {
    const ready = [...this.#endpoints.values()].filter((e) => e.takesRequests && e.ejectedUntilMs <= nowMs);
    const untried = ready.filter((e) => !tried.has(e.id));
    const some = untried.length > 0 ? untried : ready;
    // Any replica of the base can answer for an adapter, but one that has to load it first answers later.
    const loaded = some.filter((e) => e.adapterLoaded);
    return lessLoadedOfTwo(loaded.length > 0 ? loaded : some, (e) => e.cost);
  }

  /** When the first ejected endpoint may be tried again. */
  #nextReturnMs(nowMs: number): number {
    const returns = [...this.#endpoints.values()].filter((e) => e.takesRequests).map((e) => e.ejectedUntilMs);
    return Math.min(...returns.filter((ms) => ms > nowMs), Number.POSITIVE_INFINITY);
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

  #update({ endpoints, model }: WatchEndpointsResponse): void {
    this.#heard = true;
    this.#model = model;
    const ids = new Set(endpoints.map(({ id }) => id));
    for (const endpoint of this.#endpoints.values()) if (!ids.has(endpoint.id)) this.#drop(endpoint);
    for (const endpoint of endpoints) {
      const known = this.#endpoints.get(endpoint.id);
      if (known) known.update(endpoint);
      else if (endpoint.address) {
        const channel = this.#options.connect(endpoint.address);
        this.#endpoints.set(endpoint.id, new BalancedEndpoint(endpoint, channel));
      }
    }
    for (const endpoint of this.#endpoints.values()) if (endpoint.failed) this.#giveUp(endpoint);
    this.#wake();
  }

  /** Lets calls that wait for an endpoint go elsewhere, where there is somewhere: a busy one may still answer them. */
  #giveUp(endpoint: BalancedEndpoint): void {
    const others = [...this.#endpoints.values()].some((each) => each !== endpoint && each.takesRequests);
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
