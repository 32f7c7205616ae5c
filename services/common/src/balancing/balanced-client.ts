import { AsyncLocalStorage } from 'node:async_hooks';
import { create, type DescMethod, type Message, type MessageInitShape } from '@bufbuild/protobuf';
import { MethodOptions_IdempotencyLevel as Idempotency } from '@bufbuild/protobuf/wkt';
import { BalancerService } from '@landfall/proto/landfall/balancer/v1/balancer_service_pb.js';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import {
  type GenerateRequest,
  GenerateRequestSchema,
  type GenerateResponse,
  TextInferenceService,
} from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import { failedPrecondition, unavailable } from '../errors/errors.ts';
import { hasRules, requireResource } from '../identity/check.ts';
import type { Identity } from '../identity/identity.ts';
import { neededOn } from '../identity/resources.ts';
import { ruleOf } from '../identity/rule.ts';
import type { Logger } from '../log/logger.ts';
import { type CallOptions, RpcChannel, type RpcClientOptions } from '../rpc/client.ts';
import { BalancedCall, type CallEnd, type CallSpec } from './balanced-call.ts';
import { ChannelPool } from './channel-pool.ts';
import { EndpointSet, type EndpointSetOptions } from './endpoint-set.ts';
import { CallTimes, hedged } from './hedge.ts';
import { OutcomeReports } from './outcome-reports.ts';
import { type BalancingTarget, targetName } from './target.ts';
import { generationWish, plainWish } from './wish.ts';

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
  /**
   * Whether a text of a generation's request may be given to replicas outside, where a deployment has some for what its
   * own can't take. Without it nothing leaves, unless the deployment allows personal data there.
   */
  mayLeave?: (text: string) => boolean;
}

/** How one unary call is to be made. */
export interface UnaryOptions extends CallOptions {
  /**
   * Makes the call once more, of another replica, when it takes longer than 95 in 100 of the last ones; only where the
   * method has no side effects and within the budget of retries. For calls that are short as a rule.
   */
  hedge?: boolean;
}

/** An endpoint set in use. */
interface Held {
  set: EndpointSet;
  users: number;
  idle: NodeJS.Timeout | undefined;
}

const WAIT_MS = 10_000;
const IDLE_MS = 60_000;

/**
 * Calls replicas of deployments and models without a proxy in between: follows their endpoints over the balancer's
 * stream (one for each target, shared by all calls, closed when idle), sends each call where it would be answered first
 * by what is known (BalancingPolicy), and takes another one when the first fails before it has answered. A canary gets
 * its share of the conversations, and replicas elsewhere get what its own have no room for, where it may leave.
 *
 * A call is tried again only where that is safe: the failure is UNAVAILABLE or the connection's, the method may be
 * repeated, nothing was delivered yet, and retries stay within a fifth of the requests.
 */
export class BalancedClient implements AsyncDisposable {
  readonly #options: BalancedClientOptions;
  readonly #balancer: RpcChannel;
  readonly #channels: ChannelPool;
  readonly #held = new Map<string, Held>();
  readonly #times = new CallTimes();
  readonly #outcomes: OutcomeReports;
  /** A stream of endpoints serves many calls, so it belongs to the trace of none. */
  readonly #detached = AsyncLocalStorage.snapshot();

  constructor(options: BalancedClientOptions) {
    this.#options = options;
    this.#balancer = new RpcChannel(options.balancerUrl, options.rpc);
    this.#channels = new ChannelPool((address) => new RpcChannel(address, options.rpc));
    const client = this.#balancer.client(BalancerService);
    this.#outcomes = new OutcomeReports(
      (report, identity) => client.reportOutcomes(report, { identity }),
      options.logger,
    );
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
    const caller = this.#identity(options);
    const message = create(GenerateRequestSchema, request);
    const wish = generationWish(message, caller, this.#options.mayLeave);
    const asked = (model: string): GenerateRequest => ({ ...message, model });
    const call: CallSpec = {
      ...{ target, method, options, wish, tried: new Set(), tells: 'pace' },
      open: (endpoint, each, model) => endpoint.channel.serverStream(method, asked(model), each),
      delivers: (reply) => {
        const { delta, logprobs, finishReason } = reply as GenerateResponse;
        return delta !== '' || logprobs.length > 0 || finishReason !== 0;
      },
    };
    yield* this.#balanced(call) as AsyncGenerator<GenerateResponse>;
  }

  /**
   * `models:/name/version` that would answer a generation now. A promise only where the target is not followed yet.
   * @throws LandfallError as generate, before any replica is asked
   */
  serving(
    target: BalancingTarget,
    request: GenerateRequest,
    options: CallOptions = {},
  ): string | Promise<string> {
    const held = this.#take(target, options);
    const wish = generationWish(request, this.#identity(options), undefined);
    const known = held.set.model(wish);
    if (known !== undefined) {
      this.#giveBack(held);
      return known;
    }
    const { waitMs = WAIT_MS } = this.#options;
    const signal = options.signal ?? options.context?.signal;
    return held.set.known(wish, Date.now() + waitMs, signal).finally(() => this.#giveBack(held));
  }

  /** Any server-streaming method of a replica, with the request as it is. */
  serverStream(
    target: BalancingTarget,
    method: DescMethod,
    request: Message,
    options: CallOptions = {},
  ): AsyncIterable<Message> {
    return this.#balanced({
      ...{ target, method, options, wish: plainWish(), tried: new Set() },
      open: (endpoint, each) => endpoint.channel.serverStream(method, request, each),
      delivers: () => true,
      tells: 'nothing',
    });
  }

  /** Any unary method of a replica, with the request as it is. */
  async unary(
    target: BalancingTarget,
    method: DescMethod,
    request: Message,
    options: UnaryOptions = {},
  ): Promise<Message> {
    const tried = new Set<string>();
    const sent = Promise.withResolvers<void>();
    const wish = plainWish();
    const once = async (signal: AbortSignal | undefined) => {
      const call: CallSpec = {
        ...{ target, method, wish, tried, delivers: () => true, tells: 'duration' },
        options: signal ? { ...options, signal } : options,
        open: async function* (endpoint, each) {
          sent.resolve();
          yield await endpoint.channel.unary(method, request, { ...each, attempts: 1 });
        },
      };
      for await (const reply of this.#balanced(call)) return reply;
      throw unavailable(`${targetName(target)} gave no answer`);
    };
    const afterMs = options.hedge ? this.#times.hedgeAfterMs(method.name) : undefined;
    if (afterMs === undefined || method.idempotency !== Idempotency.NO_SIDE_EFFECTS)
      return once(options.signal);
    const held = this.#take(target, options);
    try {
      return await hedged(
        (over) => once(options.signal ? AbortSignal.any([options.signal, over]) : over),
        afterMs,
        sent.promise,
        () => held.set.hasOther(tried) && held.set.budget.takeRetry(),
      );
    } finally {
      this.#giveBack(held);
    }
  }

  /**
   * A unary method on every replica of the target that answers now, such as to have all of them load an adapter.
   * @returns how each call ended, at least one
   * @throws LandfallError as generate, when no replica answers in time
   */
  async everywhere(
    target: BalancingTarget,
    method: DescMethod,
    request: Message,
    options: CallOptions = {},
  ): Promise<PromiseSettledResult<Message>[]> {
    this.#require(target, method, options);
    const held = this.#take(target, options);
    try {
      const { signal } = options;
      const endpoints = await held.set.all(Date.now() + (this.#options.waitMs ?? WAIT_MS), signal);
      return await Promise.allSettled(
        endpoints.map(({ channel }) => channel.unary(method, request, options)),
      );
    } finally {
      this.#giveBack(held);
    }
  }

  /** Closes all streams and connections; running calls fail. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#outcomes.flush();
    for (const { set, idle } of this.#held.values()) {
      clearTimeout(idle);
      set.close();
    }
    this.#held.clear();
    this.#channels.close();
    this.#balancer.close();
  }

  async *#balanced(call: CallSpec): AsyncGenerator<Message> {
    this.#require(call.target, call.method, call.options);
    const held = this.#take(call.target, call.options);
    const { logger, waitMs = WAIT_MS } = this.#options;
    const ended: CallEnd = (deployment, model, failed) => {
      const { tenant } = this.#identity(call.options);
      this.#outcomes.add(deployment, model, failed, this.#own(tenant));
    };
    try {
      yield* new BalancedCall(call, { set: held.set, logger, waitMs, times: this.#times, ended }).run();
    } finally {
      this.#giveBack(held);
    }
  }

  /**
   * A prompt or a profile may have led here, whose request named no deployment: what nobody has checked on the way is
   * checked where a replica is asked. Replicas check the models that their requests name.
   * @throws LandfallError NOT_FOUND for a deployment that the caller may not know of, PERMISSION_DENIED
   */
  #require(target: BalancingTarget, method: DescMethod, options: CallOptions): void {
    const caller = this.#identity(options);
    if ('model' in target || !hasRules(caller)) return;
    const resource = `deployments/${target.deployment}`;
    requireResource(caller, { resource, needed: neededOn(ruleOf(method), resource) });
  }

  /** In whose name the call is made. */
  #identity(options: CallOptions): Identity {
    const identity = options.identity ?? options.context?.identity ?? this.#options.rpc.identity;
    if (!identity) throw failedPrecondition('a balanced call needs an identity, for its tenant');
    return identity;
  }

  /** This service itself, for a tenant. */
  #own(tenant: string): Identity {
    return { subject: `service:${this.#options.service}`, tenant, role: Role.SERVICE };
  }

  #take(target: BalancingTarget, options: CallOptions): Held {
    const { tenant } = this.#identity(options);
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
    const identity = this.#own(tenant);
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
