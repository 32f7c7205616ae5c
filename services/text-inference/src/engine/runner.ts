/**
 * What the engine asks of a model. The engine decides who takes part in a step and where keys and values lie; a
 * runner turns that into one `session.run` and hands back logits.
 */

import type { ServingPrecision } from '@landfall/graph/serving/packed-weights.ts';
import type { ImageGrid } from './prompt.ts';

export interface StepRow {
  /** New tokens of one sequence [n], n >= 1. */
  tokens: number[];
  /**
   * Tokens of it whose keys and values are in the pool already, its adapter's virtual tokens included: the position of
   * the first new one.
   */
  start: number;
  /** Its blocks, in order, with room for start + n tokens. */
  blockTable: readonly number[];
  /** Row of the adapter table; 0 is the base. */
  adapterSlot: number;
  /** What is to follow the last of `tokens`, one each; given where the row is scored and not gone on from. */
  targets?: readonly number[] | undefined;
  /** What stands in the place of some of `tokens`, from the index `from` on: [n, hidden size], n tokens. */
  images?: readonly { from: number; tokens: Float32Array }[] | undefined;
  /** Of which of `tokens` it is asked, in the place of logits, how much they look at some positions of the sequence. */
  looks?: { queries: number[]; over: { from: number; count: number }[] } | undefined;
  /** Whether the sequence has chosen or guessed the tokens itself: they are computed as if they came one by one. */
  stepwise: boolean;
  /** Tokens whose logits are asked for. */
  logits: 'last' | 'each' | 'none';
  /** The likeliest token and its logit are enough, in the place of each row of logits. */
  top: boolean;
}

export interface ModelShape {
  vocabularySize: number;
  /** Tokens a sequence may have in all. */
  contextLength: number;
  blocks: number;
  blockSize: number;
  /** How images stand among the tokens; absent where the model reads text alone. */
  images?: ImageGrid | undefined;
}

export interface Runner {
  readonly shape: ModelShape;
  /** Adapters that fit beside the base: slots 1 to this. */
  readonly adapterSlots: number;
  /** Computes the new tokens of each row, leaves their keys and values in the pool, and returns the logits that it
   * asks for, [vocabulary] each or [2] with `top`, or the natural log probabilities of its targets, or what it looks at
   * [queries, positions]. Rows are independent of one another. Logits may be read until the next call. */
  run(rows: StepRow[]): Promise<Float32Array[]>;
  /** Copies the keys and values of positions from..end of a sequence out of its blocks. */
  save(blockTable: readonly number[], from: number, end: number): Float32Array;
  /** Puts what `save` gave back into a sequence's blocks from a position on. */
  restore(blockTable: readonly number[], from: number, saved: Float32Array): void;
  /**
   * Puts the adapter of a local folder in peft's layout into a slot; between two steps.
   * @throws AdapterError where it does not fit the model.
   */
  loadAdapter(slot: number, folder: string): Promise<void>;
  /** Virtual tokens that stand before a sequence of this slot; 0 for the base. */
  prefixTokens(slot: number): number;
  /** Empties a slot. */
  clearAdapter(slot: number): void;
  /** Gives native memory back; not to be called while a step runs. */
  release(): Promise<void>;
}

/** An adapter folder that can't be used with this model, and why. */
export class AdapterError extends Error {
  override name = 'AdapterError';
}

export interface RunnerOptions {
  /** Local Hugging Face folder of the base. */
  folder: string;
  /** Folder where derived files may be kept from one start to the next. */
  cacheFolder: string;
  /** Threads of the numeric runtime. */
  threads: number;
  /** Sequences that run at once. */
  maxBatch: number;
  /** Blocks of the key/value pool; undefined takes a default from the model's context and the machine's memory. */
  blocks?: number | undefined;
  /** Tokens a block holds. */
  blockSize: number;
  /** Adapters that fit beside the base. */
  adapterSlots: number;
  /** How weights are kept: float32 where nothing is said. */
  precision?: ServingPrecision | undefined;
  /** Inputs that share a scale with int4 (32). */
  int4Block?: number | undefined;
}

/** A module that can be a worker's runner exports this under the name `createRunner`. */
export type CreateRunner = (options: RunnerOptions) => Promise<Runner>;
