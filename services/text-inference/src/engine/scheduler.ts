/**
 * Iteration-level scheduling (Yu et al. 2022, Orca): before each step of the model it is decided anew who takes
 * part, so requests join and leave at any step.
 *
 * Waiting requests are prefilled first, in the order they came, up to a budget of tokens a step; otherwise all
 * running ones decode one token. When the pool has no block left for a running sequence, the youngest one is sent
 * back to the queue and computed anew later, with its tokens so far as its prompt.
 */

import type { BlockManager } from './block-manager.ts';
import type { Sequence } from './sequence.ts';

export interface SchedulerLimits {
  /** Sequences that run at once. */
  maxBatch: number;
  /** Tokens of one prefill step, shorter prompts counted as long as the longest beside them, since rows are filled
   * up; a single longer prompt is still taken, alone. */
  maxPrefillTokens: number;
}

export interface StepPlan {
  kind: 'prefill' | 'decode';
  sequences: Sequence[];
  /** Sequences that lost their blocks for this plan. */
  preempted: Sequence[];
}

export class Scheduler {
  readonly #blocks: BlockManager;
  readonly #limits: SchedulerLimits;
  #waiting: Sequence[] = [];
  #running: Sequence[] = [];

  constructor(blocks: BlockManager, limits: SchedulerLimits) {
    this.#blocks = blocks;
    this.#limits = limits;
  }

  get waiting(): readonly Sequence[] {
    return this.#waiting;
  }

  get running(): readonly Sequence[] {
    return this.#running;
  }

  add(sequence: Sequence): void {
    this.#waiting.push(sequence);
  }

  /** Takes a sequence out, waiting or running, and frees its blocks. */
  remove(sequence: Sequence): void {
    this.#waiting = this.#waiting.filter((s) => s !== sequence);
    this.#running = this.#running.filter((s) => s !== sequence);
    this.#blocks.release(sequence.blockTable);
    sequence.restart();
  }

  /** Who takes part in the next step, with room in the pool for each; undefined when there is nothing to do. */
  plan(): StepPlan | undefined {
    const admitted = this.#admit();
    if (admitted.length > 0) return { kind: 'prefill', sequences: admitted, preempted: [] };
    if (this.#running.length === 0) return undefined;
    const preempted = this.#makeRoom();
    return { kind: 'decode', sequences: [...this.#running], preempted };
  }

  #admit(): Sequence[] {
    const admitted: Sequence[] = [];
    let longest = 0;
    while (this.#waiting.length > 0 && this.#running.length < this.#limits.maxBatch) {
      const next = this.#waiting[0]!;
      const filled = Math.max(longest, next.length) * (admitted.length + 1);
      if (admitted.length > 0 && filled > this.#limits.maxPrefillTokens) break;
      // Each running sequence may want a block at the next step: joining must not throw one of them out.
      const spare = this.#blocks.free - this.#blocks.blocksFor(next.length);
      if (spare < this.#running.length && this.#running.length > 0) break;
      if (!this.#blocks.grow(next.blockTable, next.length)) break;
      this.#waiting.shift();
      this.#running.push(next);
      admitted.push(next);
      longest = Math.max(longest, next.length);
    }
    return admitted;
  }

  /** Gives every running sequence room for its pending token, the oldest first. */
  #makeRoom(): Sequence[] {
    const preempted: Sequence[] = [];
    for (let i = 0; i < this.#running.length; i++) {
      const sequence = this.#running[i]!;
      while (!this.#blocks.grow(sequence.blockTable, sequence.length)) {
        const youngest = this.#running.pop()!;
        this.#blocks.release(youngest.blockTable);
        youngest.restart();
        this.#waiting.unshift(youngest);
        preempted.push(youngest);
        if (youngest === sequence) break;
      }
    }
    return preempted;
  }
}
