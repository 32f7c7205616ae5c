/**
 * What the engine asks of a model. The engine decides who takes part in a step and where keys and values lie; a
 * runner turns that into one `session.run` and hands back logits.
 */

export interface StepRow {
  /** New tokens of one sequence [n], n >= 1. */
  tokens: number[];
  /** Tokens of it whose keys and values are in the pool already: the position of the first new one. */
  start: number;
  /** Its blocks, in order, with room for start + n tokens. */
  blockTable: readonly number[];
  /** Row of the adapter table; 0 is the base. */
  adapterSlot: number;
}

export interface ModelShape {
  vocabularySize: number;
  /** Tokens a sequence may have in all. */
  contextLength: number;
  blocks: number;
  blockSize: number;
}

export interface Runner {
  readonly shape: ModelShape;
  /** Computes the new tokens of each row, leaves their keys and values in the pool, and returns the logits
   * [vocabulary] of each row's last token. Rows are independent of one another. */
  run(rows: StepRow[]): Promise<Float32Array[]>;
  /** Gives native memory back; not to be called while a step runs. */
  release(): Promise<void>;
}
