import { failedPrecondition, invalidArgument } from '@landfall/common/errors/errors.ts';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import { FinishReason } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import type {
  GenerateRequest,
  ScoreRequest,
} from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import { GrammarError } from '../engine/grammar/grammar-state.ts';
import { PromptThread } from '../engine/prompt-thread.ts';
import type { EngineRequest } from '../engine/sequence.ts';
import { unknownModel } from '../errors.ts';
import { promptInput } from '../generation.ts';
import { checkRequest, constraintOf, toEngineRequests } from '../generation-request.ts';
import { formatModelRef, parseModelRef } from '../model/ref.ts';
import type { Backend, Part } from './backend.ts';
import { BackendLoad } from './backend-load.ts';
import type { JobEvent } from './transformersjs-protocol.ts';
import { TransformersThread } from './transformersjs-thread.ts';

/** A longer completion would hold up other requests for too long. */
const MOST_SCORED = 2048;

/** An exported folder in the layout of onnx-community through transformers.js: one request at a time. */
export class TransformersBackend implements Backend {
  readonly base: string;
  readonly load: BackendLoad;
  readonly #folder: string;
  readonly #threads: number;
  readonly #onLost: (reason: Error) => void;
  #thread: TransformersThread | undefined;
  #prompts: PromptThread | undefined;

  /** @param onLost called when the thread that computes has ended by itself */
  constructor(folder: string, base: string, threads: number, onLost: (reason: Error) => void) {
    this.#folder = folder;
    this.base = base;
    this.#threads = threads;
    this.#onLost = onLost;
    this.load = new BackendLoad(base, 1);
  }

  async start(): Promise<void> {
    this.#thread = await TransformersThread.start({ folder: this.#folder, threads: this.#threads });
    void this.#thread.lost.then(this.#onLost);
    const { contextLength } = this.#thread;
    this.#prompts = await PromptThread.start({ folder: this.#folder, contextLength });
  }

  async *generate(request: GenerateRequest, { identity, signal }: CallContext): AsyncGenerator<Part> {
    this.#checkModel(request.model);
    const thread = this.#started;
    checkRequest(request, thread);
    const held = request.constraint && constraintOf(request.constraint);
    const grammar = held && (await this.#prompts!.compile(held.field, held.constraint));
    const { prompt } = await this.#prompts!.encode(promptInput(request));
    const prepared = { prompt, adapter: undefined, grammar };
    const requests = toEngineRequests(request, prepared, thread.contextLength, identity);
    try {
      yield* this.#run(requests, prompt.length, signal);
    } catch (error) {
      throw error instanceof GrammarError ? invalidArgument('constraint', error.message) : error;
    }
  }

  async *#run(requests: EngineRequest[], inputTokens: number, signal: AbortSignal): AsyncGenerator<Part> {
    let running = requests.length;
    let outputTokens = 0;
    let lastAt = performance.now();
    for await (const event of this.#started.generate(requests, signal)) {
      outputTokens++;
      const now = performance.now();
      this.load.tokens(1, now - lastAt);
      lastAt = now;
      if (event.finish) running--;
      const ended = event.finish !== undefined && running === 0;
      yield {
        ...part(event),
        ...(outputTokens === 1 ? { model: this.base } : {}),
        ...(ended ? { usage: { inputTokens, outputTokens } } : {}),
      };
    }
    if (running > 0) throw new Error('the thread ended the request without a reason');
  }

  /** Tokens of a completion, and their log-probability. */
  async score(
    request: ScoreRequest,
    signal: AbortSignal,
  ): Promise<{ tokens: number; logProbability: number }> {
    this.#checkModel(request.model);
    const thread = this.#started;
    const encoded = await this.#prompts!.encode(promptInput(request), request.completion);
    const { length } = encoded.completion;
    if (length > MOST_SCORED)
      throw invalidArgument('completion', `it is ${length} tokens; at most ${MOST_SCORED} are scored`);
    const logProbability = await thread.score(encoded, signal);
    return { tokens: length, logProbability };
  }

  async loadAdapter(model: string): Promise<{ ref: string; changed: boolean }> {
    const ref = formatModelRef(parseModelRef(model));
    if (ref !== this.base) {
      throw failedPrecondition(
        'an exported folder holds one model; export the adapter merged into its base',
        {
          reason: 'BACKEND_ONE_MODEL',
        },
      );
    }
    return { ref, changed: false };
  }

  unloadAdapter(model: string): boolean {
    parseModelRef(model);
    return false;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#thread?.close();
    await this.#prompts?.close();
  }

  get #started(): TransformersThread {
    return this.#thread!;
  }

  #checkModel(model: string): void {
    if (model === '') return;
    const ref = formatModelRef(parseModelRef(model));
    if (ref !== this.base) throw unknownModel(ref);
  }
}

function part({ index, text, finish, logprob }: JobEvent): Part {
  const bytes = (token: Uint8Array) => new Uint8Array(token);
  const described = logprob && {
    token: logprob.text,
    bytes: bytes(logprob.bytes),
    logprob: logprob.logprob,
    top: logprob.top.map((each) => ({ token: each.text, bytes: bytes(each.bytes), logprob: each.logprob })),
  };
  return {
    index,
    delta: text,
    ...(described ? { logprobs: [described] } : {}),
    ...(finish ? { finishReason: finish === 'stop' ? FinishReason.STOP : FinishReason.LENGTH } : {}),
  };
}
