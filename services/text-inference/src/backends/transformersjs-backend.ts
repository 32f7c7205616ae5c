import { randomBytes } from 'node:crypto';
import { failedPrecondition, invalidArgument, unimplemented } from '@landfall/common/errors/errors.ts';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import { FinishReason, type SamplingOptions } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import type {
  GenerateRequest,
  ScoreRequest,
} from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import { PromptThread } from '../engine/prompt-thread.ts';
import type { SamplingParameters } from '../engine/sampler.ts';
import { unknownModel } from '../errors.ts';
import { promptInput } from '../generation.ts';
import { formatModelRef, parseModelRef } from '../model/ref.ts';
import type { Backend, Part } from './backend.ts';
import { BackendLoad } from './backend-load.ts';
import type { JobEvent } from './transformersjs-protocol.ts';
import { TransformersThread } from './transformersjs-thread.ts';

const DEFAULT_MAX_TOKENS = 256;
/** A longer completion would hold up other requests for too long. */
const MOST_SCORED = 2048;
/** Seeds of further answers: steps of the golden ratio's 64 bits (Weyl's sequence). */
const SEED_STEP = 0x9e3779b97f4a7c15n;

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

  async *generate(request: GenerateRequest, { signal }: CallContext): AsyncGenerator<Part> {
    this.#checkModel(request.model);
    if (request.constraint)
      throw unimplemented('transformers.js holds no output to a language', { reason: 'BACKEND_CONSTRAINT' });
    const thread = this.#started;
    const { prompt } = await this.#prompts!.encode(promptInput(request));
    const { sampling } = request;
    const job = {
      prompt,
      sampling: parameters(sampling),
      maxTokens: Math.min(sampling?.maxTokens ?? DEFAULT_MAX_TOKENS, thread.contextLength - prompt.length),
      stop: sampling?.stop ?? [],
      ignoreEos: sampling?.ignoreEos ?? false,
    };
    let [running, outputTokens, lastAt] = [job.sampling.length, 0, performance.now()];
    for await (const event of thread.generate(job, signal)) {
      outputTokens++;
      const now = performance.now();
      this.load.tokens(1, now - lastAt);
      lastAt = now;
      if (event.finish) running--;
      const usage = event.finish && running === 0 ? { inputTokens: prompt.length, outputTokens } : undefined;
      yield {
        ...part(event),
        ...(outputTokens === 1 ? { model: this.base } : {}),
        ...(usage ? { usage } : {}),
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

/** One for each answer; the first has the seed that was given. */
function parameters(sampling: SamplingOptions | undefined): SamplingParameters[] {
  const seed = sampling?.seed ?? randomBytes(8).readBigUInt64LE();
  return Array.from({ length: sampling?.n ?? 1 }, (_, i) => ({
    temperature: sampling?.temperature ?? 0,
    topK: sampling?.topK ?? 0,
    topP: sampling?.topP ?? 1,
    minP: sampling?.minP,
    repetitionPenalty: sampling?.repetitionPenalty,
    frequencyPenalty: sampling?.frequencyPenalty,
    presencePenalty: sampling?.presencePenalty,
    logitBias: Object.entries(sampling?.logitBias ?? {}).map(
      ([token, bias]) => [Number(token), bias] as const,
    ),
    topLogprobs: sampling?.topLogprobs,
    seed: BigInt.asUintN(64, seed + BigInt(i) * SEED_STEP),
  }));
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
