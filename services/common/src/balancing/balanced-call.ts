import type { DescMethod, Message } from '@bufbuild/protobuf';
import { MethodOptions_IdempotencyLevel as Idempotency } from '@bufbuild/protobuf/wkt';
import { status } from '@grpc/grpc-js';
import type { GenerateResponse } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import { LandfallError, unavailable } from '../errors/errors.ts';
import type { Logger } from '../log/logger.ts';
import type { CallOptions } from '../rpc/client.ts';
import type { BalancedEndpoint } from './endpoint.ts';
import type { EndpointSet } from './endpoint-set.ts';
import type { CallTimes } from './hedge.ts';
import { isRefusal, outcomeOf } from './outcome.ts';
import type { Outcome } from './policy.ts';
import { type BalancingTarget, targetName } from './target.ts';
import type { Attempt } from './variant.ts';
import type { Wish } from './wish.ts';

/** A call as its caller wants it. */
export interface CallSpec {
  target: BalancingTarget;
  method: DescMethod;
  options: CallOptions;
  wish: Wish;
  /** Endpoints that it, or its other attempt, has been sent to. */
  tried: Set<string>;
  open: (endpoint: BalancedEndpoint, each: CallOptions, model: string) => AsyncIterable<Message>;
  /** Whether a message is a part of the answer, so that the call can't begin anew. */
  delivers: (message: Message) => boolean;
  /** Whether the time until a message tells how fast the replica is; the first one's depends on the prompt. */
  tells: 'pace' | 'duration' | 'nothing';
}

/** Told of a call of a deployment with a canary, when it has ended by its replica's doing. */
export type CallEnd = (deployment: string, model: string, failed: boolean) => void;

/** What a call is made with. */
export interface CallGround {
  set: EndpointSet;
  logger: Logger;
  /** Longest wait for an endpoint that answers. */
  waitMs: number;
  times: CallTimes;
  ended: CallEnd;
}

/** How far an attempt is. */
interface Progress {
  delivered: boolean;
  /** Stops listening for the endpoint's loss. */
  forget: () => void;
}

const RETRY_AFTER_MS = 500;

/** One call on its way through the endpoints of a target, until one has answered it. */
export class BalancedCall {
  readonly #spec: CallSpec;
  readonly #ground: CallGround;
  readonly #signal: AbortSignal | undefined;
  readonly #deadlineMs: number;

  constructor(spec: CallSpec, ground: CallGround) {
    const { signal, context, timeoutMs = Number.POSITIVE_INFINITY } = spec.options;
    this.#spec = spec;
    this.#ground = ground;
    const signals = [signal, context?.signal].filter((s) => s !== undefined);
    this.#signal = signals.length > 1 ? AbortSignal.any(signals) : signals[0];
    this.#deadlineMs = Math.min(Date.now() + timeoutMs, context?.deadlineMs ?? Number.POSITIVE_INFINITY);
  }

  /** The answer's messages. @throws LandfallError as BalancedClient.generate tells */
  async *run(): AsyncGenerator<Message> {
    const { wish, tried, target } = this.#spec;
    const { set, logger, waitMs } = this.#ground;
    const waitUntilMs = Math.min(Date.now() + waitMs, this.#deadlineMs);
    if (tried.size === 0) set.budget.request();
    let elsewhere: Attempt | undefined;
    for (;;) {
      const attempt = elsewhere ?? (await set.acquire(wish, tried, waitUntilMs, this.#signal));
      tried.add(attempt.endpoint.id);
      // An endpoint that hangs is given up when the balancer has noticed, as long as nothing came of it.
      const lost = new AbortController();
      const progress = { delivered: false, forget: attempt.endpoint.onDown(() => lost.abort()) };
      try {
        yield* this.#messages(attempt, lost.signal, progress);
        this.#ended(attempt, 'answered');
        return;
      } catch (error) {
        const own = this.#signal?.aborted === true;
        const gone = lost.signal.aborted || isUnavailable(error);
        this.#ended(attempt, own ? 'unknown' : gone ? 'unreachable' : outcomeOf(error));
        if (own) throw error;
        elsewhere = this.#overflow(attempt, error, progress);
        if (elsewhere) continue;
        if (!gone) throw error;
        if (progress.delivered) throw lostError(error, 'the replica was lost while it answered; ask again');
        if (!this.#mayRepeat() || !set.budget.takeRetry())
          throw lostError(error, 'the replica was lost before it answered; ask again');
        const { address } = attempt.endpoint;
        logger.info({ target: targetName(target), address }, 'another replica is asked');
      } finally {
        progress.forget();
        attempt.passage.end();
      }
    }
  }

  /** Where a call goes that a full replica has refused before any work, if there is room elsewhere. */
  #overflow({ endpoint }: Attempt, error: unknown, { delivered }: Progress): Attempt | undefined {
    if (!isRefusal(error) || delivered) return undefined;
    const nowMs = Date.now();
    endpoint.tally.refused(error.retryAfterMs ?? 0, nowMs);
    return this.#ground.set.overflow(this.#spec.wish, this.#spec.tried, nowMs);
  }

  /** One attempt's messages; what they tell of the replica is kept. */
  async *#messages(
    { endpoint, passage, variant }: Attempt,
    lost: AbortSignal,
    progress: Progress,
  ): AsyncGenerator<Message> {
    const { method, open, delivers, tells, options } = this.#spec;
    const { policy } = this.#ground.set;
    const { tally } = endpoint;
    const each: CallOptions = {
      ...options,
      signal: options.signal ? AbortSignal.any([options.signal, lost]) : lost,
      ...(Number.isFinite(this.#deadlineMs) ? { timeoutMs: Math.max(1, this.#deadlineMs - Date.now()) } : {}),
    };
    let sinceMs = Date.now();
    let first = true;
    for await (const message of open(endpoint, each, variant.model)) {
      const nowMs = Date.now();
      const ms = nowMs - sinceMs;
      passage.reported((message as Partial<GenerateResponse>).load, nowMs);
      if (tells === 'duration') this.#ground.times.add(method.name, ms);
      if (tells === 'duration' || (tells === 'pace' && !first))
        policy.waited({ tally, passage, kind: method.name, ms }, variant.members, nowMs);
      // A stream that is watched is no work that will end.
      if (tells === 'nothing') policy.ended(tally, passage, 'answered', variant.members, nowMs);
      first = false;
      if (!progress.delivered && delivers(message)) {
        progress.delivered = true;
        progress.forget();
      }
      passage.pause();
      yield message;
      sinceMs = Date.now();
      passage.resume(sinceMs);
    }
  }

  #ended({ endpoint, passage, variant }: Attempt, outcome: Outcome): void {
    const { target } = this.#spec;
    const { set, ended } = this.#ground;
    set.policy.ended(endpoint.tally, passage, outcome, variant.members, Date.now());
    const counts = set.hasCanary && variant.kind !== 'overflow' && outcome !== 'unknown';
    if (counts && 'deployment' in target) ended(target.deployment, variant.model, outcome !== 'answered');
  }

  #mayRepeat(): boolean {
    const { idempotency } = this.#spec.method;
    return idempotency === Idempotency.NO_SIDE_EFFECTS || idempotency === Idempotency.IDEMPOTENT;
  }
}

function isUnavailable(error: unknown): boolean {
  return error instanceof LandfallError && error.code === status.UNAVAILABLE;
}

function lostError(cause: unknown, message: string): LandfallError {
  const told = cause instanceof LandfallError && cause.code === status.UNAVAILABLE ? cause : undefined;
  if (told?.retryAfterMs !== undefined) return told;
  return unavailable(message, { reason: 'REPLICA_LOST', retryAfterMs: RETRY_AFTER_MS, cause });
}
