/**
 * The batch loop: plan, run, post-process, one step at a time. It knows neither threads nor transport; whoever
 * drives it calls `step` while `busy` and passes the events on.
 */

import { BlockManager } from './block-manager.ts';
import type { Decode } from './detokenizer.ts';
import type { GrammarSpec, GrammarState } from './grammar/grammar-state.ts';
import { PostProcessor, tokenReport } from './post-process.ts';
import type { Runner, StepRow } from './runner.ts';
import { LogitsNotFiniteError } from './sampler-order.ts';
import { Scheduler, type SchedulerLimits, type StepPlan } from './scheduler.ts';
import { type EngineRequest, type FinishReason, Sequence, type TokenReport } from './sequence.ts';

export interface EngineOptions {
  runner: Runner;
  decode: Decode;
  /** Tokens that end a sequence. */
  eos: ReadonlySet<number>;
  limits: SchedulerLimits;
  /** The start of a language; requests with a grammar are refused without. */
  grammarStart?: (spec: GrammarSpec) => GrammarState;
  /** Told when a sequence has left the engine, however it ended. */
  onLeave?: (request: EngineRequest) => void;
}

/** What one step did for one request. */
export interface SequenceEvent {
  id: string;
  /** New text, possibly none: a part of a character or of a stop string is held back. */
  text: string;
  /** New tokens: one, or none when the sequence ended without. */
  tokens: number;
  logprob?: TokenReport | undefined;
  finish?: FinishReason | undefined;
  stop?: string | undefined;
  /** With finish `scored`: the sum of the completion's natural log probabilities. */
  logProbability?: number | undefined;
  /** With finish `error`: for the reader. */
  error?: string | undefined;
}

export interface StepReport {
  kind: 'prefill' | 'decode';
  /** Start, milliseconds since the epoch. */
  startedAt: number;
  durationMs: number;
  rows: number;
  /** New tokens that went through the model. */
  tokens: number;
  preempted: number;
  events: SequenceEvent[];
}

export interface EngineLoad {
  running: number;
  queued: number;
  /** Prompt and output tokens of running, and of queued sequences. */
  runningTokens: number;
  queuedTokens: number;
  freeBlocks: number;
  blocks: number;
}

export class Engine {
  readonly #options: EngineOptions;
  readonly #blocks: BlockManager;
  readonly #scheduler: Scheduler;
  readonly #active = new Map<string, { sequence: Sequence; post: PostProcessor }>();

  constructor(options: EngineOptions) {
    const { blocks, blockSize } = options.runner.shape;
    this.#options = options;
    this.#blocks = new BlockManager(blocks, blockSize);
    this.#scheduler = new Scheduler(this.#blocks, options.limits);
  }

  get busy(): boolean {
    return this.#active.size > 0;
  }

  get load(): EngineLoad {
    const tokens = (list: readonly Sequence[]) => list.reduce((sum, s) => sum + s.length, 0);
    return {
      running: this.#scheduler.running.length,
      queued: this.#scheduler.waiting.length,
      runningTokens: tokens(this.#scheduler.running),
      queuedTokens: tokens(this.#scheduler.waiting),
      freeBlocks: this.#blocks.free,
      blocks: this.#blocks.blocks,
    };
  }

  /**
   * Queues a request.
   * @throws RangeError where it could never run: no tokens, more than the context or the pool holds, ids outside
   * the vocabulary.
   */
  submit(request: EngineRequest, adapterSlot: number): void {
    const { contextLength, vocabularySize } = this.#options.runner.shape;
    const room = Math.min(contextLength, this.#blocks.blocks * this.#blocks.blockSize);
    if (this.#active.has(request.id)) throw new RangeError(`request ${request.id} is running already`);
    if (request.prompt.length === 0) throw new RangeError('the prompt has no tokens');
    if (request.completion?.length === 0) throw new RangeError('the completion has no tokens');
    if (!(request.maxTokens >= 1)) throw new RangeError('maxTokens must be at least 1');
    const more = request.completion?.length ?? request.maxTokens;
    if (request.prompt.length + more > room) {
      throw new RangeError(`${request.prompt.length} + ${more} tokens are more than ${room}`);
    }
    // Only here is it known what the adapter's virtual tokens leave.
    const prefix = this.#options.runner.prefixTokens(adapterSlot);
    const left = room - prefix - request.prompt.length;
    if (left < (request.completion?.length ?? 1)) {
      throw new RangeError(
        `${request.prompt.length + (request.completion?.length ?? 0)} tokens leave no room beside the adapter's ` +
          `${prefix} virtual tokens in ${room}`,
      );
    }
    const outside = [...request.prompt, ...(request.completion ?? [])].find(
      (t) => !Number.isInteger(t) || t < 0 || t >= vocabularySize,
    );
    if (outside !== undefined)
      throw new RangeError(`token ${outside} is outside the vocabulary of ${vocabularySize}`);
    const grammar = request.grammar && this.#options.grammarStart?.(request.grammar);
    if (request.grammar && !grammar) throw new RangeError('this engine holds no output to a grammar');
    const sequence = new Sequence(request, adapterSlot, prefix, grammar);
    const limited = { ...request, maxTokens: Math.min(request.maxTokens, left) };
    const post = new PostProcessor(limited, this.#options.decode, this.#options.eos);
    this.#active.set(request.id, { sequence, post });
    this.#scheduler.add(sequence);
  }

  /** Takes a request out between two steps. An unknown id is one that has ended already. */
  cancel(id: string): boolean {
    const entry = this.#active.get(id);
    if (entry) this.#leave(entry.sequence);
    return entry !== undefined;
  }

  /** One step of the model; undefined when there was nothing to do. A failure ends the requests of this step. */
  async step(): Promise<StepReport | undefined> {
    const plan = this.#scheduler.plan();
    if (!plan) return undefined;
    const startedAt = Date.now();
    const start = performance.now();
    const rows = plan.sequences.map(toRow);
    let logits: Float32Array[] | undefined;
    let failure: unknown;
    try {
      logits = await this.#options.runner.run(rows);
    } catch (error) {
      failure = error;
    }
    const durationMs = performance.now() - start;
    const events = plan.sequences.map((s, i) =>
      logits ? this.#advance(s, logits[i]!) : this.#fail(s, failure),
    );
    return {
      kind: plan.kind,
      startedAt,
      durationMs,
      rows: rows.length,
      tokens: rows.reduce((sum, row) => sum + row.tokens.length, 0),
      preempted: plan.preempted.length,
      events,
    };
  }

  #advance(sequence: Sequence, logits: Float32Array): SequenceEvent {
    const { request } = sequence;
    const post = this.#active.get(request.id)!.post;
    sequence.computed = sequence.length;
    if (request.completion) return this.#scored(sequence, logits);
    try {
      const sampled = sequence.sampler.next(logits, sequence.length);
      sequence.sampler.accept(sampled.token);
      sequence.output.push(sampled.token);
      const piece = post.next(sampled.token, sequence.output.length);
      if (piece.finish) this.#leave(sequence);
      return { id: request.id, tokens: 1, logprob: tokenReport(sampled), ...piece };
    } catch (error) {
      return this.#fail(sequence, error);
    }
  }

  #scored(sequence: Sequence, logProbabilities: Float32Array): SequenceEvent {
    const logProbability = logProbabilities.reduce((sum, value) => sum + value, 0);
    if (!Number.isFinite(logProbability))
      return this.#fail(sequence, new LogitsNotFiniteError('the model returned logits that are not finite'));
    this.#leave(sequence);
    return { id: sequence.id, text: '', tokens: 0, finish: 'scored', logProbability };
  }

  #fail(sequence: Sequence, error: unknown): SequenceEvent {
    this.#leave(sequence);
    const message = error instanceof Error ? error.message : String(error);
    return { id: sequence.id, text: '', tokens: 0, finish: 'error', error: message };
  }

  #leave(sequence: Sequence): void {
    this.#scheduler.remove(sequence);
    this.#active.delete(sequence.id);
    this.#options.onLeave?.(sequence.request);
  }
}

function toRow(sequence: StepPlan['sequences'][number]): StepRow {
  return {
    tokens: sequence.pending(),
    start: sequence.computed,
    blockTable: sequence.blockTable,
    adapterSlot: sequence.adapterSlot,
    targets: sequence.request.completion,
  };
}
