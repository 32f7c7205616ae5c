import { setTimeout as delay } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import { LandfallError, unavailable } from '@landfall/common/errors/errors.ts';
import type { Identity } from '@landfall/common/identity/identity.ts';
import type { Logger } from '@landfall/common/log/logger.ts';
import {
  type CallOptions,
  RpcChannel,
  type RpcClient,
  type RpcClientOptions,
} from '@landfall/common/rpc/client.ts';
import type { BalancerService } from '@landfall/proto/landfall/balancer/v1/balancer_service_pb.js';
import { EndpointState } from '@landfall/proto/landfall/balancer/v1/deployment_pb.js';
import { TextInferenceService } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';

/** What is asked of a model: a chat, or a plain prompt. */
export type Question = { messages: { role: string; content: string }[] } | { prompt: string };

/** How long an evaluation waits for a replica before it gives up; a balancer replaces a dead one well within it. */
const PATIENCE_MS = 60_000;
const LOAD_TIMEOUT_MS = 60_000;
const ANSWER_TIMEOUT_MS = 300_000;
const WATCH_PAUSE_MS = 500;
/** Another replica may answer where one is full, stopping, killed in mid-answer, or new and without the adapter. */
const AGAIN = new Set([
  status.UNAVAILABLE,
  status.RESOURCE_EXHAUSTED,
  status.ABORTED,
  status.CANCELLED,
  status.INTERNAL,
  status.UNKNOWN,
  status.NOT_FOUND,
]);

interface Replica {
  address: string;
  channel: RpcChannel;
  client: RpcClient<typeof TextInferenceService>;
  /** Our own requests that it works on. */
  inFlight: number;
  loaded: Map<string, Promise<unknown>>;
}

/** Finds out which replicas serve a base, and opens a set of them for an evaluation. */
export class ReplicaPool {
  readonly #balancer: RpcClient<typeof BalancerService>;
  readonly #rpc: RpcClientOptions;
  readonly #logger: Logger;

  constructor(balancer: RpcClient<typeof BalancerService>, rpc: RpcClientOptions, logger: Logger) {
    this.#balancer = balancer;
    this.#rpc = rpc;
    this.#logger = logger;
  }

  /** Whether a deployment serves this base, ready or on its way. */
  async serves(base: string, options: CallOptions): Promise<boolean> {
    const { deployments } = await this.#balancer.listDeployments({ base, pageSize: 1 }, options);
    return deployments.length > 0;
  }

  /**
   * Serves a version that is not READY yet on one replica of its own, until disposed of. A repeat under the same name
   * finds the same replica.
   */
  async deployDraft(name: string, model: string, identity: Identity): Promise<AsyncDisposable> {
    await this.#balancer.deploy({ name, model, replicas: 1 }, { identity });
    return {
      [Symbol.asyncDispose]: async () => {
        await this.#balancer.stopDeployment({ name }, { identity }).catch((error) => {
          this.#logger.warn({ err: error, deployment: name }, 'an evaluation deployment was not stopped');
        });
      },
    };
  }

  /** The replicas of a base, followed until disposed of. */
  open(base: string, options: CallOptions): ReplicaSet {
    return new ReplicaSet(this.#balancer, base, this.#rpc, this.#logger, options);
  }
}

/** The replicas that serve one base, as the balancer's stream names them. */
export class ReplicaSet implements AsyncDisposable {
  readonly #balancer: RpcClient<typeof BalancerService>;
  readonly #base: string;
  readonly #rpc: RpcClientOptions;
  readonly #logger: Logger;
  readonly #options: CallOptions;
  readonly #stopping = new AbortController();
  readonly #watch: Promise<void>;
  #replicas = new Map<string, Replica>();
  #changed = Promise.withResolvers<void>();

  constructor(
    balancer: RpcClient<typeof BalancerService>,
    base: string,
    rpc: RpcClientOptions,
    logger: Logger,
    options: CallOptions,
  ) {
    this.#balancer = balancer;
    this.#base = base;
    this.#rpc = rpc;
    this.#logger = logger;
    this.#options = options;
    this.#watch = this.#follow();
  }

  /**
   * A greedy answer of the base or of one of its adapters. A replica that dies or is full is left for another.
   *
   * @param adapter `models:/name/version` to be loaded before; empty asks the base
   * @throws LandfallError UNAVAILABLE when no replica answers for a minute; whatever the replica says otherwise
   */
  answer(adapter: string, question: Question, maxTokens: number, signal?: AbortSignal): Promise<string> {
    return this.#patiently(adapter, signal, (replica) =>
      this.#ask(replica, adapter, question, maxTokens, signal),
    );
  }

  /**
   * How likely the base or an adapter finds an answer.
   *
   * @returns no tokens where the replica can't tell: it does not know how, or the answer is too long for it
   */
  score(
    adapter: string,
    question: Question,
    completion: string,
    signal?: AbortSignal,
  ): Promise<{ tokens: number; logProbability: number }> {
    return this.#patiently(adapter, signal, async (replica) => {
      if (adapter) await this.#load(replica, adapter);
      const request = { model: adapter || this.#base, ...question, completion };
      const options = { ...this.#call(ANSWER_TIMEOUT_MS), ...(signal ? { signal } : {}) };
      replica.inFlight++;
      try {
        const { tokens, logProbability } = await replica.client.score(request, options);
        return { tokens, logProbability };
      } catch (error) {
        const cannot = [status.UNIMPLEMENTED, status.INVALID_ARGUMENT];
        if (error instanceof LandfallError && cannot.includes(error.code))
          return { tokens: 0, logProbability: 0 };
        throw error;
      } finally {
        replica.inFlight--;
      }
    });
  }

  /** Asks one replica after the other until one answers. */
  async #patiently<T>(
    adapter: string,
    signal: AbortSignal | undefined,
    ask: (replica: Replica) => Promise<T>,
  ): Promise<T> {
    const startMs = Date.now();
    let excluded: string | undefined;
    for (;;) {
      signal?.throwIfAborted();
      const replica = await this.#pick(excluded, startMs, signal);
      try {
        return await ask(replica);
      } catch (error) {
        const again = error instanceof LandfallError && AGAIN.has(error.code) && !signal?.aborted;
        if (!again || Date.now() - startMs > PATIENCE_MS) throw error;
        excluded = replica.address;
        replica.loaded.delete(adapter);
        await delay(error.retryAfterMs ?? 200, undefined, signal ? { signal } : {});
      }
    }
  }

  /** Loads an adapter into every replica that answers now, so that the first question need not wait for it. */
  async load(adapter: string, signal?: AbortSignal): Promise<void> {
    await this.#pick(undefined, Date.now(), signal);
    const replicas = [...this.#replicas.values()];
    const results = await Promise.allSettled(replicas.map((replica) => this.#load(replica, adapter)));
    // One that died meanwhile is replaced; only what all of them refuse is the adapter's fault.
    const failed = results.find((result) => result.status === 'rejected');
    if (failed && results.every((result) => result.status === 'rejected')) throw failed.reason;
  }

  /** Drops an adapter that will not be registered. */
  async unload(adapter: string): Promise<void> {
    await Promise.allSettled(
      [...this.#replicas.values()].map(async (replica) => {
        replica.loaded.delete(adapter);
        await replica.client.unloadAdapter({ model: adapter }, this.#call());
      }),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    await this.#watch;
    for (const { channel } of this.#replicas.values()) channel.close();
  }

  async #ask(
    replica: Replica,
    adapter: string,
    question: Question,
    maxTokens: number,
    signal: AbortSignal | undefined,
  ): Promise<string> {
    replica.inFlight++;
    try {
      if (adapter) await this.#load(replica, adapter);
      const request = {
        model: adapter || this.#base,
        ...question,
        sampling: { temperature: 0, maxTokens },
      };
      const options = { ...this.#call(ANSWER_TIMEOUT_MS), ...(signal ? { signal } : {}) };
      let text = '';
      for await (const { delta } of replica.client.generate(request, options)) text += delta;
      return text;
    } finally {
      replica.inFlight--;
    }
  }

  #load(replica: Replica, adapter: string): Promise<unknown> {
    let loading = replica.loaded.get(adapter);
    if (!loading) {
      loading = replica.client.loadAdapter({ model: adapter }, this.#call(LOAD_TIMEOUT_MS));
      loading.catch(() => replica.loaded.delete(adapter));
      replica.loaded.set(adapter, loading);
    }
    return loading;
  }

  /** The replica with the fewest of our requests, other than the one that has just failed where there is a choice. */
  async #pick(excluded: string | undefined, startMs: number, signal?: AbortSignal): Promise<Replica> {
    for (;;) {
      const all = [...this.#replicas.values()];
      const others = all.filter((replica) => replica.address !== excluded);
      const candidates = others.length > 0 ? others : all;
      const best = candidates.reduce<Replica | undefined>(
        (least, replica) => (least && least.inFlight <= replica.inFlight ? least : replica),
        undefined,
      );
      if (best) return best;
      const left = startMs + PATIENCE_MS - Date.now();
      if (left <= 0) throw unavailable(`no replica serves ${this.#base}; look at GetDeployment for why`);
      signal?.throwIfAborted();
      await Promise.race([this.#changed.promise, delay(Math.min(left, 1000))]);
    }
  }

  async #follow(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      try {
        const stream = this.#balancer.watchEndpoints({ model: this.#base }, { ...this.#call(), signal });
        for await (const { endpoints } of stream) {
          const ready = endpoints.filter((endpoint) => endpoint.state === EndpointState.READY);
          this.#update(ready.map((endpoint) => endpoint.address));
        }
      } catch (error) {
        if (signal.aborted) return;
        // The endpoints known so far serve on while the balancer is away.
        this.#logger.warn({ err: error, base: this.#base }, 'the endpoints are watched again');
      }
      await delay(WATCH_PAUSE_MS, undefined, { signal }).catch(() => {});
    }
  }

  #update(addresses: string[]): void {
    for (const [address, replica] of this.#replicas) {
      if (addresses.includes(address)) continue;
      this.#replicas.delete(address);
      // Closing ends what it still answers; those questions go to another.
      replica.channel.close();
    }
    for (const address of addresses) {
      if (this.#replicas.has(address)) continue;
      const channel = new RpcChannel(address, this.#rpc);
      const client = channel.client(TextInferenceService);
      this.#replicas.set(address, { address, channel, client, inFlight: 0, loaded: new Map() });
    }
    this.#changed.resolve();
    this.#changed = Promise.withResolvers<void>();
  }

  /** The evaluation's caller, without its deadline where a time is given for this call alone. */
  #call(timeoutMs?: number): CallOptions {
    return { ...this.#options, ...(timeoutMs ? { timeoutMs } : {}) };
  }
}
