/**
 * The batch loop: plan, run, post-process, one step at a time. It knows neither threads nor transport; whoever
 * drives it calls `step` while `busy` and passes the events on.
 */

import { BlockManager } from './block-manager.ts';
import type { Decode } from './detokenizer.ts';
import { GrammarError, type GrammarSpec, type GrammarState } from './grammar/grammar-state.ts';
import { askedOf, attentionMaps, checkImages, imageParts, keepLooked } from './images.ts';
import { PostProcessor, tokenReport } from './post-process.ts';
import type { ImageGrid } from './prompt.ts';
import type { Runner, StepRow } from './runner.ts';
import { LogitsNotFiniteError, likeliest } from './sampler-order.ts';
import { type PlannedRow, type Preempted, Scheduler, type SchedulerLimits } from './scheduler.ts';
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

/** What one token of a step did for one request. */
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
  /** With finish `attended`: of each part that was asked for, of each image [rows * columns], with the sum 1. */
  maps?: Float32Array[][] | undefined;
  /** With finish `error`: for the reader. */
  error?: string | undefined;
  /** With finish `error`: the request's grammar can't be followed any further. */
  byConstraint?: boolean | undefined;
  /** With the first token: prompt tokens whose keys and values were in the pool already. */
  found?: number | undefined;
}

export interface StepReport {
  /** Whether it computed prompts, next tokens, or both. */
  kind: 'prefill' | 'decode' | 'mixed';
  /** Start, milliseconds since the epoch. */
  startedAt: number;
  durationMs: number;
  rows: number;
  /** New tokens that went through the model. */
  tokens: number;
  preempted: number;
  /** Tokens that were guessed, and those of them that were right. */
  guessed: number;
  guessedRight: number;
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
  /** Blocks of prompts that can be shared. */
  cachedBlocks: number;
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
      cachedBlocks: this.#blocks.cached,
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
    if (request.images?.length || request.attend) checkImages(request, this.#options.runner.shape.images);
    const outside = [...request.prompt, ...(request.completion ?? [])].find(
      (t) => !Number.isInteger(t) || t < 0 || t >= vocabularySize,
    );
    if (outside !== undefined)
      throw new RangeError(`token ${outside} is outside the vocabulary of ${vocabularySize}`);
    const grammar = request.grammar && this.#options.grammarStart?.(request.grammar);
    if (request.grammar && !grammar) throw new RangeError('this engine holds no output to a grammar');
    const limited = { ...request, maxTokens: Math.min(request.maxTokens, left) };
    const sequence = new Sequence(limited, adapterSlot, prefix, this.#blocks.blockSize, grammar);
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
    // Before the step: it may write over the blocks that they had.
    for (const lost of plan.preempted) this.#save(lost);
    const rows = plan.rows.map((row) => toRow(row, this.#options.runner.shape.images));
    let logits: Float32Array[] | undefined;
    let failure: unknown;
    try {
      logits = await this.#options.runner.run(rows);
    } catch (error) {
      failure = error;
    }
    const durationMs = performance.now() - start;
    const parts = plan.rows.map((row, i) =>
      logits ? this.#advance(row, logits[i]!) : [this.#fail(row.sequence, failure)],
    );
    const own = plan.rows.filter((row) => row.own);
    return {
      kind: own.length === 0 ? 'prefill' : own.length === rows.length ? 'decode' : 'mixed',
      startedAt,
      durationMs,
      rows: rows.length,
      tokens: rows.reduce((sum, row) => sum + row.tokens.length, 0),
      preempted: plan.preempted.length,
      guessed: own.reduce((sum, row) => sum + row.guesses, 0),
      guessedRight: plan.rows.reduce((sum, row, i) => sum + (row.own ? parts[i]!.length - 1 : 0), 0),
      events: parts.flat(),
    };
  }

  /** Keeps what a sequence has chosen, so that it goes on from the very same keys and values. */
  #save({ sequence, blockTable, computed }: Preempted): void {
    if (computed <= sequence.promptEnd) return;
    sequence.saved = this.#options.runner.save(blockTable, sequence.promptEnd, computed);
  }

  #advance(row: PlannedRow, logits: Float32Array): SequenceEvent[] {
    const { sequence, tokens } = row;
    if (row.own) return this.#choose(row, logits);
    keepLooked(sequence, askedOf(row), logits);
    sequence.advance(tokens.length);
    this.#publish(sequence);
    if (!sequence.pastPrompt) return [];
    if (sequence.request.attend) return [this.#attended(sequence)];
    if (sequence.request.completion) return [this.#scored(sequence, logits)];
    if (sequence.output.length === 0) return this.#choose({ ...row, tokens: [] }, logits);
    this.#restore(sequence);
    return [];
  }

  /** Full blocks of the prompt can be shared from now on. */
  #publish({ hashes, blockTable, computed }: Sequence): void {
    const full = Math.min(hashes.length, Math.floor(computed / this.#blocks.blockSize));
    for (let block = 0; block < full; block++) this.#blocks.publish(blockTable[block]!, hashes[block]!);
  }

  #restore(sequence: Sequence): void {
    if (!sequence.saved) return;
    this.#options.runner.restore(sequence.blockTable, sequence.promptEnd, sequence.saved);
    sequence.saved = undefined;
    sequence.advance(sequence.output.length - 1);
  }

  /**
   * Chooses the token behind each of a row's last ones, as long as those that were guessed are the ones chosen.
   * @param logits [guesses + 1, vocabulary], or [guesses + 1, 2] where the likeliest token is enough
   */
  #choose({ sequence, tokens, guesses }: PlannedRow, logits: Float32Array): SequenceEvent[] {
    const { request } = sequence;
    const { post } = this.#active.get(request.id)!;
    const { sampler } = sequence;
    const events: SequenceEvent[] = [];
    const guessed = tokens.slice(tokens.length - guesses);
    sequence.advance(tokens.length - guesses);
    try {
      for (let i = 0; i <= guesses; i++) {
        const width = logits.length / (guesses + 1);
        const row = logits.subarray(i * width, (i + 1) * width);
        const sampled = sampler.takesLikeliest
          ? likeliest(row[0]!, row[1]!)
          : sampler.next(row, sequence.length);
        sampler.accept(sampled.token);
        sequence.output.push(sampled.token);
        const piece = post.next(sampled.token, sequence.output.length);
        const found = sequence.output.length === 1 ? { found: sequence.found } : {};
        events.push({ id: request.id, tokens: 1, logprob: tokenReport(sampled), ...piece, ...found });
        if (piece.finish) this.#leave(sequence);
        if (piece.finish || sampled.token !== guessed[i]) break;
        sequence.advance(1);
      }
      return events;
    } catch (error) {
      return [...events, this.#fail(sequence, error)];
    }
  }

  #scored(sequence: Sequence, logProbabilities: Float32Array): SequenceEvent {
    const logProbability = logProbabilities.reduce((sum, value) => sum + value, 0);
    if (!Number.isFinite(logProbability))
      return this.#fail(sequence, new LogitsNotFiniteError('the model returned logits that are not finite'));
    this.#leave(sequence);
    return { id: sequence.id, text: '', tokens: 0, finish: 'scored', logProbability };
  }

  #attended(sequence: Sequence): SequenceEvent {
    this.#leave(sequence);
    const { images = [] } = sequence.request;
    const { rows, columns } = this.#options.runner.shape.images!;
    const maps = attentionMaps(sequence, images.length, rows * columns);
    return { id: sequence.id, text: '', tokens: 0, finish: 'attended', maps };
  }

  #fail(sequence: Sequence, error: unknown): SequenceEvent {
    this.#leave(sequence);
    const message = error instanceof Error ? error.message : String(error);
    const byConstraint = error instanceof GrammarError;
    return { id: sequence.id, text: '', tokens: 0, finish: 'error', error: message, byConstraint };
  }

  #leave(sequence: Sequence): void {
    this.#scheduler.remove(sequence);
    this.#active.delete(sequence.id);
    this.#options.onLeave?.(sequence.request);
  }
}

function toRow(row: PlannedRow, grid: ImageGrid | undefined): StepRow {
  const { sequence, tokens, own, guesses } = row;
  const { computed, blockTable, adapterSlot, promptEnd, output, request } = sequence;
  const last = own || computed + tokens.length >= promptEnd;
  const scored = last && request.completion !== undefined && !request.attend;
  // What it had chosen before it lost its place is known.
  const known = !own && output.length > 0;
  return {
    tokens,
    start: computed,
    blockTable,
    adapterSlot,
    targets: scored ? request.completion : undefined,
    stepwise: own,
    ...(grid && request.images?.length ? imageParts(row, request.images, grid) : {}),
    logits: !last || known || request.attend ? 'none' : guesses > 0 ? 'each' : 'last',
    top: sequence.sampler.takesLikeliest,
  };
}
