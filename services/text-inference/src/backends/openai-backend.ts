import { setTimeout as delay } from 'node:timers/promises';
import { notFound } from '@landfall/common/errors/errors.ts';
import type { Logger } from '@landfall/common/log/logger.ts';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import { RetryBudget } from '@landfall/common/rpc/retry-budget.ts';
import type {
  GenerateRequest,
  ScoreRequest,
} from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import { formatModelRef, parseModelRef } from '../model/ref.ts';
import type { Backend, Part, Score } from './backend.ts';
import type { OpenAiConfig } from './backend-config.ts';
import { BackendLoad } from './backend-load.ts';
import { OpenAiAnswer } from './openai-answer.ts';
import { garbled, ServerFailure } from './openai-errors.ts';
import { openAiMessages } from './openai-messages.ts';
import { type OpenAiMessage, openAiCall } from './openai-request.ts';
import {
  type Echo,
  echoBody,
  isWithoutMeans,
  readEcho,
  scoreOf,
  scoresNoChat,
  toldOfEcho,
} from './openai-score.ts';
import { OpenAiServer } from './openai-server.ts';
import { checkMayLeave, checkTextsMayLeave } from './personal-data.ts';

const MOST_ATTEMPTS = 3;
const FIRST_PAUSE_MS = 100;
/** A server that asks for more than this is left to the caller. */
const LONGEST_PAUSE_MS = 2000;
const START_PAUSE_MS = 1000;
/** Retries per request: a failing server is not buried under them. */
const RETRY_SHARE = 0.2;

/** A server that speaks OpenAI's API (vLLM, TGI, llama-server, a vendor's) in the place of our engine. */
export class OpenAiBackend implements Backend {
  readonly base: string;
  readonly load: BackendLoad;
  readonly #config: OpenAiConfig;
  readonly #server: OpenAiServer;
  readonly #logger: Logger;
  readonly #budget = new RetryBudget(RETRY_SHARE);
  /** What the server calls the adapters that were asked for, by ref. */
  readonly #names = new Map<string, string>();

  constructor(config: OpenAiConfig, base: string, maxBatch: number, logger: Logger) {
    this.#config = config;
    this.#server = new OpenAiServer(config);
    this.#logger = logger;
    this.base = base;
    this.load = new BackendLoad(base, maxBatch);
  }

  /** Waits until the server answers. @throws LandfallError where it refuses this replica's key */
  async start(signal: AbortSignal): Promise<void> {
    for (;;) {
      try {
        const models = await this.#server.models(signal);
        const listed = models?.has(this.#config.model);
        this.#logger.info({ model: this.base, listed }, 'the server behind answers');
        return;
      } catch (error) {
        if (signal.aborted) throw error;
        if (error instanceof ServerFailure && error.told.reason === 'BACKEND_KEY') throw error.told;
        this.#logger.warn({ err: error, again_in_ms: START_PAUSE_MS }, 'the server behind does not answer');
        await delay(START_PAUSE_MS, undefined, { signal });
      }
    }
  }

  async *generate(request: GenerateRequest, { signal }: CallContext): AsyncGenerator<Part> {
    if (this.#config.remote) checkMayLeave(request, this.#config.remoteImages);
    const messages = await openAiMessages(request.messages);
    try {
      yield* this.#attempts(() => this.#once(request, messages, signal), signal);
    } catch (error) {
      throw error instanceof ServerFailure ? error.told : error;
    }
  }

  /**
   * By the server's echo of the text. The end of the turn is not scored, since no text stands for it.
   * @throws LandfallError FAILED_PRECONDITION for a chat, and for a server without echo or log-probabilities
   */
  async score({ model, messages, prompt, completion }: ScoreRequest, signal: AbortSignal): Promise<Score> {
    if (messages.length > 0) throw scoresNoChat();
    const whole = prompt + completion;
    if (this.#config.remote) checkTextsMayLeave([prompt, completion, whole]);
    const ref = model === '' ? this.base : formatModelRef(parseModelRef(model));
    try {
      const name = await this.#nameOf(ref, signal);
      const [before, all] = await Promise.all([prompt, whole].map((text) => this.#echo(name, text, signal)));
      return { model: ref, ...scoreOf(before!, all!) };
    } catch (error) {
      throw toldOfEcho(error);
    }
  }

  async #echo(model: string, text: string, signal: AbortSignal): Promise<Echo> {
    const ask = async (maxTokens: 0 | 1): Promise<Echo> => {
      const once = async function* (server: OpenAiServer) {
        yield readEcho(await server.reply('/completions', echoBody(model, text, maxTokens), signal));
      };
      for await (const echo of this.#attempts(() => once(this.#server), signal)) return echo;
      throw garbled('no reply');
    };
    try {
      return await ask(0);
    } catch (error) {
      // Some make one token at least.
      if (error instanceof ServerFailure && isWithoutMeans(error)) return ask(1);
      throw error;
    }
  }

  async loadAdapter(model: string, signal: AbortSignal): Promise<{ ref: string; changed: boolean }> {
    const ref = formatModelRef(parseModelRef(model));
    const changed = ref !== this.base && !this.#names.has(ref);
    try {
      await this.#nameOf(ref, signal);
    } catch (error) {
      throw error instanceof ServerFailure ? error.told : error;
    }
    return { ref, changed };
  }

  unloadAdapter(model: string): boolean {
    return this.#forget(formatModelRef(parseModelRef(model)));
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  /** Tries again while nothing was delivered, the failure may pass and the budget lasts. */
  async *#attempts<T>(once: () => AsyncGenerator<T>, signal: AbortSignal): AsyncGenerator<T> {
    this.#budget.request();
    for (let attempt = 1; ; attempt++) {
      let delivered = false;
      try {
        for await (const reply of once()) {
          delivered = true;
          yield reply;
        }
        return;
      } catch (error) {
        if (!(error instanceof ServerFailure) || !error.again || delivered || attempt === MOST_ATTEMPTS)
          throw error;
        const pauseMs = pauseBefore(attempt, error);
        if (pauseMs > LONGEST_PAUSE_MS || !this.#budget.takeRetry()) throw error;
        this.#logger.info(
          { reason: error.told.reason, again_in_ms: pauseMs },
          'the server behind is asked again',
        );
        await delay(pauseMs, undefined, { signal });
      }
    }
  }

  async *#once(
    request: GenerateRequest,
    messages: readonly OpenAiMessage[],
    signal: AbortSignal,
  ): AsyncGenerator<Part> {
    const ref = request.model === '' ? this.base : formatModelRef(parseModelRef(request.model));
    const name = await this.#nameOf(ref, signal);
    const { path, body } = openAiCall(request, messages, name, this.#config.extensions);
    const answer = new OpenAiAnswer(request.sampling?.n ?? 1);
    let first = true;
    let lastAt = performance.now();
    const marked = (reply: Part): Part => {
      const now = performance.now();
      // A part is a token with every server that is known; the final counts tell of all.
      if (reply.delta) this.load.tokens(1, now - lastAt);
      lastAt = now;
      const model = first ? { model: ref } : {};
      first = false;
      return { ...reply, ...model };
    };
    try {
      for await (const event of this.#server.stream(path, body, signal)) {
        for (const reply of answer.take(event)) yield marked(reply);
      }
      yield marked(answer.end());
    } catch (error) {
      if (error instanceof ServerFailure && error.told.reason === 'MODEL_NOT_FOUND') this.#forget(ref);
      throw error;
    }
  }

  /**
   * What the server calls a model: the base by its configured name; an adapter by its ref, `name/version` or name,
   * whichever it lists.
   * @throws LandfallError NOT_FOUND where it lists none of them
   */
  async #nameOf(ref: string, signal: AbortSignal): Promise<string> {
    if (ref === this.base) return this.#config.model;
    const known = this.#names.get(ref);
    if (known) return known;
    const { name } = parseModelRef(ref);
    const models = await this.#server.models(signal);
    const found = [ref, ref.slice('models:/'.length), name].find((each) => models?.has(each));
    if (!found) {
      throw notFound(`the server behind this replica lists no ${ref}`, { reason: 'MODEL_NOT_FOUND' });
    }
    this.#names.set(ref, found);
    this.load.adapters.add(ref);
    this.load.changed();
    return found;
  }

  #forget(ref: string): boolean {
    const known = this.#names.delete(ref);
    this.load.adapters.delete(ref);
    if (known) this.load.changed();
    return known;
  }
}

/** Doubles, with a random half, and is never shorter than a full server asks for. */
function pauseBefore(attempt: number, { told }: ServerFailure): number {
  const ownMs = FIRST_PAUSE_MS * 2 ** (attempt - 1) * (0.5 + Math.random() / 2);
  return told.reason === 'BACKEND_FULL' ? Math.max(ownMs, told.retryAfterMs ?? 0) : ownMs;
}
