import { AsyncLocalStorage } from 'node:async_hooks';
import { create, type DescMethod, type Message, type MessageInitShape } from '@bufbuild/protobuf';
import { MethodOptions_IdempotencyLevel as Idempotency } from '@bufbuild/protobuf/wkt';
import { status } from '@grpc/grpc-js';
import { BalancerService } from '@landfall/proto/landfall/balancer/v1/balancer_service_pb.js';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import {
  type GenerateRequestSchema,
  type GenerateResponse,
  TextInferenceService,
} from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import { failedPrecondition, LandfallError, unavailable } from '../errors/errors.ts';
import type { Logger } from '../log/logger.ts';
import { type CallOptions, RpcChannel, type RpcClientOptions } from '../rpc/client.ts';
import { ChannelPool } from './channel-pool.ts';
import type { BalancedEndpoint } from './endpoint.ts';
import { EndpointSet, type EndpointSetOptions } from './endpoint-set.ts';
import { type BalancingTarget, targetName } from './target.ts';

export interface BalancedClientOptions {
  /** `host:port` of the balancer. */
  balancerUrl: string;
  /** Name of this service; its streams to the balancer carry `service:NAME` and the caller's tenant. */
  service: string;
  rpc: RpcClientOptions;
  logger: Logger;
  /** Longest wait for an endpoint that answers, within the call's own deadline (default 10,000 ms). */
  waitMs?: number;
  /** A target that nobody has asked for this long is followed no more (default 60,000 ms). */
  idleMs?: number;
}

/** An endpoint set in use. */
interface Held {
  set: EndpointSet;
  users: number;
  idle: NodeJS.Timeout | undefined;
}

const WAIT_MS = 10_000;
const IDLE_MS = 60_000;
const RETRY_AFTER_MS = 500;

/**
 * Calls replicas of deployments and models without a proxy in between: follows their endpoints over the balancer's
 * stream (one for each target, shared by all calls, closed when idle), sends each call to the less loaded of two at
 * random, and takes another one when the first fails before it has answered.
 *
 * A call is tried again only where that is safe: the failure is UNAVAILABLE or the connection's, the method may be
 * repeated, nothing was delivered yet, and retries stay within a fifth of the requests.
 */
export class BalancedClient implements AsyncDisposable {
  readonly #options: BalancedClientOptions;
  readonly #balancer: RpcChannel;
  readonly #channels: ChannelPool;
  readonly #held = new Map<string, Held>();
  /** A stream of endpoints serves many calls, so it belongs to the trace of none. */
  readonly #detached = AsyncLocalStorage.snapshot();

  constructor(options: BalancedClientOptions) {
    this.#options = options;
    this.#balancer = new RpcChannel(options.balancerUrl, options.rpc);
    this.#channels = new ChannelPool((address) => new RpcChannel(address, options.rpc));
  }

  /**
   * TextInferenceService.Generate on a replica of the target; the request's model is set to what the target stands
   * for. Leaving the loop, the context's cancel or the signal stops the replica's work.
   * @throws LandfallError UNAVAILABLE with RetryInfo when no replica answers in time, NOT_FOUND for an unknown
   * deployment, and whatever the replica says.
   */
  async *generate(
    target: BalancingTarget,
    request: MessageInitShape<typeof GenerateRequestSchema>,
    options: CallOptions = {},
  ): AsyncGenerator<GenerateResponse> {
    const method = TextInferenceService.method.generate;
    const withModel = (model: string) => create(method.input, { ...request, model });
    const hasContent = (message: Message) => {
      const { delta, logprobs, finishReason } = message as GenerateResponse;
      return delta !== '' || logprobs.length > 0 || finishReason !== 0;
    };
    yield* this.#stream(target, method, withModel, options, hasContent) as AsyncGenerator<GenerateResponse>;
  }

  /** Any server-streaming method of a replica, with the request as it is. */
  serverStream(
    target: BalancingTarget,
    method: DescMethod,
    request: Message,
    options: CallOptions = {},
  ): AsyncIterable<Message> {
    return this.#stream(
      target,
      method,
      () => request,
      options,
      () => true,
    );
  }

  /** Any unary method of a replica, with the request as it is. */
  async unary(
    target: BalancingTarget,
    method: DescMethod,
    request: Message,
    options: CallOptions = {},
  ): Promise<Message> {
    const call = async function* (endpoint: BalancedEndpoint, each: CallOptions) {
      yield await endpoint.channel.unary(method, request, { ...each, attempts: 1 });
    };
    for await (const reply of this.#balanced(target, method, options, call, () => true)) return reply;
    throw unavailable(`${targetName(target)} gave no answer`);
  }

  /** Closes all streams and connections; running calls fail. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const { set, idle } of this.#held.values()) {
      clearTimeout(idle);
      set.close();
    }
    this.#held.clear();
    this.#channels.close();
    this.#balancer.close();
  }

  #stream(
    target: BalancingTarget,
    method: DescMethod,
    request: (model: string) => Message,
    options: CallOptions,
    delivers: (message: Message) => boolean,
  ): AsyncGenerator<Message> {
    const call = (endpoint: BalancedEndpoint, each: CallOptions, model: string) =>
      endpoint.channel.serverStream(method, request(model), each);
    return this.#balanced(target, method, options, call, delivers);
  }

  async *#balanced(
    target: BalancingTarget,
    method: DescMethod,
    options: CallOptions,
    call: (endpoint: BalancedEndpoint, each: CallOptions, model: string) => AsyncIterable<Message>,
    delivers: (message: Message) => boolean,
  ): AsyncGenerator<Message> {
    const held = this.#take(target, options);
    const { set } = held;
    const tried = new Set<string>();
    const signals = [options.signal, options.context?.signal].filter((s) => s !== undefined);
    const signal = signals.length > 1 ? AbortSignal.any(signals) : signals[0];
    const startMs = Date.now();
    const deadlineMs = Math.min(
      startMs + (options.timeoutMs ?? Number.POSITIVE_INFINITY),
      options.context?.deadlineMs ?? Number.POSITIVE_INFINITY,
    );
    const waitUntilMs = Math.min(startMs + (this.#options.waitMs ?? WAIT_MS), deadlineMs);
    const repeatable =
      method.idempotency === Idempotency.NO_SIDE_EFFECTS || method.idempotency === Idempotency.IDEMPOTENT;
    set.budget.request();
    try {
      for (;;) {
        const attempt = await set.acquire(tried, waitUntilMs, signal);
        const { endpoint } = attempt;
        // An endpoint that hangs is given up when the balancer has noticed, as long as nothing came of it.
        const lost = new AbortController();
        const forget = endpoint.onDown(() => lost.abort());
        const each: CallOptions = {
          ...options,
          signal: options.signal ? AbortSignal.any([options.signal, lost.signal]) : lost.signal,
          ...(Number.isFinite(deadlineMs) ? { timeoutMs: Math.max(1, deadlineMs - Date.now()) } : {}),
        };
        let delivered = false;
        try {
          for await (const message of call(endpoint, each, set.model)) {
            attempt.reported((message as Partial<GenerateResponse>).load);
            if (!delivered && delivers(message)) {
              delivered = true;
              forget();
            }
            yield message;
          }
          endpoint.succeeded();
          return;
        } catch (error) {
          const gone = lost.signal.aborted || isUnavailable(error);
          if (signal?.aborted || !gone) throw error;
          endpoint.eject();
          const { address } = endpoint;
          if (delivered) throw lostError(error, 'the replica was lost while it answered; ask again');
          if (!repeatable || !set.budget.takeRetry())
            throw lostError(error, 'the replica was lost before it answered; ask again');
          tried.add(endpoint.id);
          this.#options.logger.info({ target: targetName(target), address }, 'another replica is asked');
        } finally {
          forget();
          attempt.end();
        }
      }
    } finally {
      this.#giveBack(held);
    }
  }

  #take(target: BalancingTarget, options: CallOptions): Held {
    const identity = options.identity ?? options.context?.identity ?? this.#options.rpc.identity;
    if (!identity) throw failedPrecondition('a balanced call needs an identity, for its tenant');
    const { tenant } = identity;
    const key = JSON.stringify([tenant, target]);
    let held = this.#held.get(key);
    if (!held) {
      held = { set: this.#open(target, tenant, key), users: 0, idle: undefined };
      this.#held.set(key, held);
    }
    clearTimeout(held.idle);
    held.users++;
    return held;
  }

  #giveBack(held: Held): void {
    held.users--;
    if (held.users > 0) return;
    held.idle = setTimeout(() => {
      for (const [key, other] of this.#held) if (other === held) this.#held.delete(key);
      held.set.close();
    }, this.#options.idleMs ?? IDLE_MS);
    held.idle.unref();
  }

  #open(target: BalancingTarget, tenant: string, key: string): EndpointSet {
    const client = this.#balancer.client(BalancerService);
    // The stream outlives the call that opened it, so it is the service's own; calls carry their caller's identity.
    const identity = { subject: `service:${this.#options.service}`, tenant, role: Role.SERVICE };
    const options: EndpointSetOptions = {
      name: targetName(target),
      watch: (signal) => client.watchEndpoints(target, { identity, signal }),
      connect: (address) => this.#channels.take(address),
      disconnect: (address) => this.#channels.giveBack(address),
      logger: this.#options.logger,
      // The next call asks anew: the deployment may have been made since.
      onRefused: () => this.#held.delete(key),
    };
    return this.#detached(() => new EndpointSet(options));
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
