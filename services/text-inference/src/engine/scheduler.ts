/**
 * Iteration-level scheduling (Yu et al. 2022, Orca): before each step of the model it is decided anew who takes part, so
 * requests join and leave at any step.
 *
 * Every step all sequences that are past their prompt take their next token; what is left of the step's budget goes to
 * prompts, in chunks (Agrawal et al. 2023, Sarathi), so a long prompt delays nobody's next token by more than a chunk.
 * When the pool has no block left for a running sequence, the one of the lowest priority that came last loses its place;
 * so it does to one of a higher priority that waits. What it has is computed anew later, to the same bits.
 */

import type { BlockManager } from './block-manager.ts';
import { lookUp } from './prompt-lookup.ts';
import type { Sequence } from './sequence.ts';
import { WaitingQueue } from './waiting-queue.ts';

export interface SchedulerLimits {
  /** Sequences that run at once. */
  maxBatch: number;
  /** Prompt tokens of one step while nobody waits for a next token. */
  maxPrefillTokens: number;
  /** Prompt tokens of one step beside as many sequences that do; as many times more as fewer do than wait for a first one. */
  maxChunkTokens: number;
}

/** A sequence's part in a step. */
export interface PlannedRow {
  sequence: Sequence;
  /** New tokens [n], n >= 1, from the sequence's `computed` on. */
  tokens: number[];
  /** Tokens that the sequence has chosen or guessed, and not a part of its prompt. */
  own: boolean;
  /** How many of the tokens are guesses, the last ones. */
  guesses: number;
}

/** A sequence that lost its place, and the blocks that it had. */
export interface Preempted {
  sequence: Sequence;
  blockTable: number[];
  /** Positions that were in them. */
  computed: number;
}

export interface StepPlan {
  rows: PlannedRow[];
  preempted: Preempted[];
}

export class Scheduler {
  readonly #blocks: BlockManager;
  readonly #limits: SchedulerLimits;
  readonly #queue = new WaitingQueue();
  /** In the order of their last admission. */
  #running: Sequence[] = [];

  constructor(blocks: BlockManager, limits: SchedulerLimits) {
    this.#blocks = blocks;
    this.#limits = limits;
  }

  get waiting(): readonly Sequence[] {
    return this.#queue.all;
  }

  get running(): readonly Sequence[] {
    return this.#running;
  }

  add(sequence: Sequence): void {
    this.#queue.enter(sequence);
  }

  /** Takes a sequence out, waiting or running, and frees its blocks. */
  remove(sequence: Sequence): void {
    this.#queue.leave(sequence);
    this.#running = this.#running.filter((s) => s !== sequence);
    this.#blocks.release(sequence.blockTable);
  }

  /** Who takes part in the next step and with which tokens, with room in the pool; undefined for nothing to do. */
  plan(): StepPlan | undefined {
    const preempted: Preempted[] = [];
    this.#promote(preempted);
    const decoding = this.#decode(preempted);
    const prompts = this.#continuePrompts(this.#budget(decoding.length));
    const rows = [...decoding, ...prompts.rows];
    rows.push(...this.#admit(prompts.left, preempted));
    for (const { sequence, tokens, own, guesses } of rows)
      this.#queue.serve(sequence, own ? 0 : tokens.length, own ? tokens.length - guesses : 0);
    return rows.length > 0 ? { rows, preempted } : undefined;
  }

  #budget(decoding: number): number {
    const { maxBatch, maxPrefillTokens, maxChunkTokens } = this.#limits;
    if (decoding === 0) return maxPrefillTokens;
    const starting = Math.min(maxBatch - decoding, this.#running.length - decoding + this.waiting.length);
    return Math.min(Math.floor(maxChunkTokens * Math.max(1, starting / decoding)), maxPrefillTokens);
  }

  /** Gives those who wait the places of running ones of a lower priority, the lowest and youngest first. */
  #promote(preempted: Preempted[]): void {
    for (;;) {
      const next = this.#queue.next(new Set());
      if (!next || this.#comesSoon(next)) return;
      const lower = (s: Sequence) => s.request.priority < next.request.priority;
      if (!this.#wouldHavePlace(next, this.#running.filter(lower))) return;
      while (!this.#hasPlace(next)) {
        const victim = this.#victim(lower);
        // Blocks that it was to share with the last of them are its own to find now.
        if (!victim) return;
        this.#preempt(victim, preempted);
      }
      this.#begin(next);
    }
  }

  /** Whether there would be a place for a sequence without some that run: nobody loses one in vain. */
  #wouldHavePlace(sequence: Sequence, without: readonly Sequence[]): boolean {
    if (without.length === 0) return false;
    // What they share with others is not freed, so only what is their own counts.
    const freed = without.reduce((sum, s) => sum + this.#blocks.ownedBy(s.blockTable), 0);
    return this.#needed(sequence) + this.#running.length - without.length <= this.#blocks.free + freed;
  }

  /** The next token of every sequence that is past its prompt, the oldest first. */
  #decode(preempted: Preempted[]): PlannedRow[] {
    const rows: PlannedRow[] = [];
    for (const sequence of [...this.#running]) {
      if (!sequence.pastPrompt || !this.#running.includes(sequence)) continue;
      if (!this.#makeRoom(sequence, sequence.length, preempted)) continue;
      const guesses = this.#guesses(sequence);
      rows.push({
        sequence,
        tokens: [...sequence.pending(), ...guesses],
        own: true,
        guesses: guesses.length,
      });
    }
    // A younger one may have lost its place to an older one after it was planned for.
    return rows.filter(({ sequence }) => this.#running.includes(sequence));
  }

  /** Guesses are made only where blocks are free for them. */
  #guesses(sequence: Sequence): number[] {
    const { promptLookup = 0, maxTokens } = sequence.request;
    const most = Math.min(promptLookup, maxTokens - sequence.output.length - 1);
    if (most < 1) return [];
    const guesses = lookUp([...sequence.request.prompt, ...sequence.output], most);
    return this.#blocks.grow(sequence.blockTable, sequence.length + guesses.length) ? guesses : [];
  }

  #continuePrompts(budget: number): { rows: PlannedRow[]; left: number } {
    const rows: PlannedRow[] = [];
    let left = budget;
    for (const sequence of this.#running) {
      if (sequence.pastPrompt || left < 1) continue;
      rows.push(promptRow(sequence, left));
      left -= rows.at(-1)!.tokens.length;
    }
    return { rows, left };
  }

  /** Gives places to those who wait, in their order, as long as there is budget, and room for all that they have. */
  #admit(budget: number, preempted: readonly Preempted[]): PlannedRow[] {
    const admitted: PlannedRow[] = [];
    // Whoever lost a place in this very step would only take it back; those who had better wait are added to them.
    const lost = new Set(preempted.map(({ sequence }) => sequence));
    for (let left = budget; left > 0; ) {
      const next = this.#queue.next(lost);
      if (next && this.#comesSoon(next)) {
        lost.add(next);
        continue;
      }
      if (!next || !this.#hasPlace(next)) break;
      this.#begin(next);
      const row = promptRow(next, left);
      admitted.push(row);
      left -= row.tokens.length;
    }
    return admitted;
  }

  /** Whether what comes next of a sequence's prompt is being computed for another one: it is shared when it is there. */
  #comesSoon({ hashes }: Sequence): boolean {
    const missing = hashes[this.#blocks.known(hashes)];
    if (missing === undefined) return false;
    return this.#running.some((other) => !other.pastPrompt && other.hashes.includes(missing));
  }

  /** Blocks of a sequence's prompt that it can share. */
  #shared({ hashes, prefix }: Sequence): number {
    const known = this.#blocks.known(hashes);
    // Virtual tokens are put into a sequence's first blocks where it begins: they are shared whole or not at all.
    return known * this.#blocks.blockSize > prefix ? known : 0;
  }

  /** Free blocks that a sequence takes when it begins, those included that nobody uses now but hold its prompt. */
  #needed(sequence: Sequence): number {
    const shared = this.#shared(sequence);
    const { hashes, length } = sequence;
    return this.#blocks.blocksFor(length) - shared + this.#blocks.idle(hashes, shared);
  }

  /** Whether there is a place in the batch, and blocks for all that the sequence has. */
  #hasPlace(sequence: Sequence): boolean {
    // Each running sequence may want a block at the next step: joining must not throw one of them out.
    const spare = this.#running.length;
    return spare < this.#limits.maxBatch && this.#needed(sequence) + spare <= this.#blocks.free;
  }

  /** Shares what is in the pool of the sequence's prompt, and takes blocks for the rest of what it has. */
  #begin(sequence: Sequence): void {
    const shared = this.#shared(sequence);
    this.#blocks.share(sequence.blockTable, sequence.hashes, shared);
    this.#blocks.grow(sequence.blockTable, sequence.length);
    sequence.begin(Math.max(sequence.prefix, shared * this.#blocks.blockSize));
    this.#queue.take(sequence);
    this.#running.push(sequence);
  }

  /** Blocks for a running sequence; false when it has lost its own place for want of them. */
  #makeRoom(sequence: Sequence, tokens: number, preempted: Preempted[]): boolean {
    while (!this.#blocks.grow(sequence.blockTable, tokens)) {
      const victim = this.#victim(() => true)!;
      this.#preempt(victim, preempted);
      if (victim === sequence) return false;
    }
    return true;
  }

  /** Of those that qualify the one of the lowest priority, the youngest of them. */
  #victim(qualifies: (sequence: Sequence) => boolean): Sequence | undefined {
    let victim: Sequence | undefined;
    for (const sequence of this.#running) {
      if (!qualifies(sequence)) continue;
      if (!victim || sequence.request.priority <= victim.request.priority) victim = sequence;
    }
    return victim;
  }

  #preempt(victim: Sequence, preempted: Preempted[]): void {
    preempted.push({ sequence: victim, blockTable: [...victim.blockTable], computed: victim.computed });
    this.#running = this.#running.filter((sequence) => sequence !== victim);
    this.#blocks.release(victim.blockTable);
    this.#queue.return(victim);
  }
}

function promptRow(sequence: Sequence, most: number): PlannedRow {
  return { sequence, tokens: sequence.pendingPrompt(most), own: false, guesses: 0 };
}
