import { failedPrecondition, invalidArgument } from '@landfall/common/errors/errors.ts';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import { FinishReason } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import type {
  GenerateRequest,
  ScoreRequest,
} from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import { GrammarError } from '../engine/grammar/grammar-state.ts';
import { unknownModel } from '../errors.ts';
import { checkRequest, constraintOf, toEngineRequests } from '../generation-request.ts';
import { formatModelRef, parseModelRef } from '../model/ref.ts';
import type { Backend, Part } from './backend.ts';
import { BackendLoad } from './backend-load.ts';
import { ExportedPrompts } from './transformersjs-prompts.ts';
import type { GenerateJob, JobEvent } from './transformersjs-protocol.ts';
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
  #prompts: ExportedPrompts | undefined;

  /** @param onLost called when a thread that computes has ended by itself */
  constructor(folder: string, base: string, threads: number, onLost: (reason: Error) => void) {
    this.#folder = folder;
    this.base = base;
    this.#threads = threads;
    this.#onLost = onLost;
    this.load = new BackendLoad(base, 1);
  }

  async start(signal: AbortSignal): Promise<void> {
    const options = { folder: this.#folder, threads: this.#threads };
    this.#thread = await TransformersThread.start(options);
    try {
      this.#prompts = await ExportedPrompts.start(this.#folder, this.#thread.shape, this.#onLost);
      await this.#try(signal);
    } catch (error) {
      await this[Symbol.asyncDispose]();
      throw error;
    }
    void this.#thread.lost.then(this.#onLost);
  }

  async *generate(request: GenerateRequest, { identity, signal }: CallContext): AsyncGenerator<Part> {
    this.#checkModel(request.model);
    const prompts = this.#prompts!;
    checkRequest(request, this.#started.shape);
    const held = request.constraint && constraintOf(request.constraint);
    const grammar = held && (await prompts.compile(held.field, held.constraint));
    await using prepared = await prompts.prepare(request, signal);
    const { prompt, seen, inputTokens } = prepared;
    const parts = { prompt, images: [], adapter: undefined, grammar };
    const requests = toEngineRequests(request, parts, prepared.contextLength, identity);
    try {
      yield* this.#run({ requests, seen }, inputTokens, signal);
    } catch (error) {
      throw error instanceof GrammarError ? invalidArgument('constraint', error.message) : error;
    }
  }

  async *#run(job: GenerateJob, inputTokens: number, signal: AbortSignal): AsyncGenerator<Part> {
    let running = job.requests.length;
    let outputTokens = 0;
    let lastAt = performance.now();
    for await (const event of this.#started.generate(job, signal)) {
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
    await using prepared = await this.#prompts!.prepare(request, signal, request.completion);
    const { prompt, completion, seen } = prepared;
    const { length } = completion;
    if (length > MOST_SCORED)
      throw invalidArgument('completion', `it is ${length} tokens; at most ${MOST_SCORED} are scored`);
    const logProbability = await this.#started.score({ prompt, completion, seen }, signal);
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

  /**
   * Scores a few words behind an image, where the model reads any: graphs and configuration that do not fit together are
   * known now, not by the first caller.
   * @throws Error that says what does not fit
   */
  async #try(signal: AbortSignal): Promise<void> {
    if (!this.#started.shape.vision) return;
    try {
      await using prepared = await this.#prompts!.probe(signal);
      const { prompt, completion, seen } = prepared;
      await this.#started.score({ prompt, completion, seen }, signal);
    } catch (error) {
      if (signal.aborted) throw error;
      const why = error instanceof Error ? error.message : String(error);
      throw new Error(`the exported folder does not answer about an image: ${why}`, { cause: error });
    }
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
