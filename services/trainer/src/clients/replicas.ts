import { setTimeout as delay } from 'node:timers/promises';
import { create } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import type { BalancedClient } from '@landfall/common/balancing/balanced-client.ts';
import { LandfallError } from '@landfall/common/errors/errors.ts';
import type { Identity } from '@landfall/common/identity/identity.ts';
import type { Logger } from '@landfall/common/log/logger.ts';
import type { CallOptions, RpcClient } from '@landfall/common/rpc/client.ts';
import type { BalancerService } from '@landfall/proto/landfall/balancer/v1/balancer_service_pb.js';
import {
  LoadAdapterRequestSchema,
  ScoreRequestSchema,
  type ScoreResponse,
  TextInferenceService,
  UnloadAdapterRequestSchema,
} from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';

/** A message of a chat, with the encoded images that stand in its places for them. */
export interface QuestionMessage {
  role: string;
  content: string;
  images?: Uint8Array[];
}

/** What is asked of a model: a chat, or a plain prompt. */
export type Question = { messages: QuestionMessage[] } | { prompt: string };

/** How long an evaluation waits for a replica before it gives up; a balancer replaces a dead one well within it. */
export const PATIENCE_MS = 60_000;
const LOAD_TIMEOUT_MS = 60_000;
const ANSWER_TIMEOUT_MS = 300_000;
/** Asked again, a replica may answer where one was full, stopping, killed in mid-answer, or new without the adapter. */
const AGAIN = new Set([
  status.UNAVAILABLE,
  status.RESOURCE_EXHAUSTED,
  status.ABORTED,
  status.CANCELLED,
  status.INTERNAL,
  status.UNKNOWN,
  status.NOT_FOUND,
]);

const { loadAdapter, unloadAdapter, score } = TextInferenceService.method;

/** Finds out which replicas serve a base, and asks them. */
export class ReplicaPool {
  readonly #balancer: RpcClient<typeof BalancerService>;
  readonly #client: BalancedClient;
  readonly #logger: Logger;

  /** @param client should wait for PATIENCE_MS */
  constructor(balancer: RpcClient<typeof BalancerService>, client: BalancedClient, logger: Logger) {
    this.#balancer = balancer;
    this.#client = client;
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

  /** The replicas of a base, asked in the name that the options give. */
  of(base: string, options: CallOptions): ReplicaSet {
    return new ReplicaSet(this.#client, base, options);
  }
}

/** The replicas that serve one base and its adapters, drafts included. Each question goes where it is answered first. */
export class ReplicaSet {
  readonly #client: BalancedClient;
  readonly #base: string;
  readonly #options: CallOptions;

  constructor(client: BalancedClient, base: string, options: CallOptions) {
    this.#client = client;
    this.#base = base;
    this.#options = options;
  }

  /**
   * A greedy answer of the base or of one of its adapters, whole: a replica that dies in the middle leaves it to another.
   *
   * @param adapter `models:/name/version`; empty asks the base
   * @throws LandfallError UNAVAILABLE when no replica answers for a minute; whatever the replica says otherwise
   */
  answer(adapter: string, question: Question, maxTokens: number, signal?: AbortSignal): Promise<string> {
    const request = { ...question, sampling: { temperature: 0, maxTokens } };
    return patiently(signal, async () => {
      let text = '';
      const options = this.#call(ANSWER_TIMEOUT_MS, signal);
      for await (const { delta } of this.#client.generate(this.#target(adapter), request, options))
        text += delta;
      return text;
    });
  }

  /**
   * How likely the base or an adapter finds an answer.
   *
   * @returns no tokens where the replica can't tell: it does not know how, or the answer is too long for it
   */
  async score(
    adapter: string,
    question: Question,
    completion: string,
    signal?: AbortSignal,
  ): Promise<{ tokens: number; logProbability: number }> {
    const target = this.#target(adapter);
    const request = create(ScoreRequestSchema, { ...target, ...question, completion });
    try {
      const reply = await patiently(signal, () =>
        this.#client.unary(target, score, request, this.#call(ANSWER_TIMEOUT_MS, signal)),
      );
      const { tokens, logProbability } = reply as ScoreResponse;
      return { tokens, logProbability };
    } catch (error) {
      if (error instanceof LandfallError && cannotTell(error)) return { tokens: 0, logProbability: 0 };
      throw error;
    }
  }

  /**
   * Has every replica that answers now load an adapter, so that the first question need not wait for it.
   *
   * @throws LandfallError what all of them say against it; one that died meanwhile is replaced
   */
  async load(adapter: string, signal?: AbortSignal): Promise<void> {
    const request = create(LoadAdapterRequestSchema, { model: adapter });
    const options = this.#call(LOAD_TIMEOUT_MS, signal);
    const results = await this.#client.everywhere(this.#target(adapter), loadAdapter, request, options);
    const failed = results.find((result) => result.status === 'rejected');
    if (failed && results.every((result) => result.status === 'rejected')) throw failed.reason;
  }

  /** Drops an adapter that will not be registered, where it is. */
  async unload(adapter: string): Promise<void> {
    const request = create(UnloadAdapterRequestSchema, { model: adapter });
    // Best effort: what is asked for no more makes room by itself.
    await this.#client
      .everywhere(this.#target(adapter), unloadAdapter, request, this.#call())
      .catch(() => {});
  }

  #target(adapter: string): { model: string } {
    return { model: adapter || this.#base };
  }

  #call(timeoutMs?: number, signal?: AbortSignal): CallOptions {
    return { ...this.#options, ...(timeoutMs ? { timeoutMs } : {}), ...(signal ? { signal } : {}) };
  }
}

function cannotTell({ code, reason }: LandfallError): boolean {
  return (
    code === status.UNIMPLEMENTED || code === status.INVALID_ARGUMENT || reason === 'BACKEND_CANNOT_SCORE'
  );
}

/** Asks until a replica answers. The client takes another one where it can; what it gives up is asked anew here. */
async function patiently<T>(signal: AbortSignal | undefined, ask: () => Promise<T>): Promise<T> {
  const startMs = Date.now();
  for (;;) {
    signal?.throwIfAborted();
    try {
      return await ask();
    } catch (error) {
      const again = error instanceof LandfallError && AGAIN.has(error.code) && !signal?.aborted;
      if (!again || Date.now() - startMs > PATIENCE_MS) throw error;
      await delay(error.retryAfterMs ?? 200, undefined, signal ? { signal } : {});
    }
  }
}
