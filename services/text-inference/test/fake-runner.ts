/**
 * A model without arithmetic: the next token's logits are a hash of all tokens before it and the adapter. It keeps
 * the tokens in a block pool and reads every sequence back from there, so a wrong block table gives wrong tokens.
 */

import type { ModelShape, Runner, StepRow } from '../src/engine/runner.ts';
import { random } from './tiny-model.ts';

export class FakeRunner implements Runner {
  readonly shape: ModelShape;
  readonly adapterSlots: number;
  readonly #pool: Int32Array;
  /** Runs before each step; may throw to make it fail. */
  beforeStep: (rows: StepRow[]) => void | Promise<void> = () => {};
  /** Virtual tokens by slot. */
  prefixes: Record<number, number> = {};
  steps = 0;
  released = false;

  constructor(options: Partial<ModelShape & { adapterSlots: number }> = {}) {
    const { adapterSlots = 4, ...shape } = options;
    this.adapterSlots = adapterSlots;
    this.shape = { vocabularySize: 50, contextLength: 64, blocks: 32, blockSize: 4, ...shape };
    this.#pool = new Int32Array(this.shape.blocks * this.shape.blockSize).fill(-1);
  }

  async run(rows: StepRow[]): Promise<Float32Array[]> {
    this.steps++;
    await this.beforeStep(rows);
    const { blockSize } = this.shape;
    const slot = (row: StepRow, i: number) => {
      const block = row.blockTable[Math.floor(i / blockSize)];
      if (block === undefined) throw new Error(`position ${i} has no block`);
      return block * blockSize + (i % blockSize);
    };
    for (const row of rows) {
      for (const [i, token] of row.tokens.entries()) this.#pool[slot(row, row.start + i)] = token;
    }
    const logits = (row: StepRow, length: number) => {
      let hash = 2166136261 ^ row.adapterSlot;
      for (let i = this.prefixTokens(row.adapterSlot); i < length; i++) {
        hash = Math.imul(hash ^ this.#pool[slot(row, i)]!, 16777619);
      }
      const next = random(hash);
      return Float32Array.from({ length: this.shape.vocabularySize }, () => 4 * next());
    };
    return rows.map((row) => {
      const length = row.start + row.tokens.length;
      if (!row.targets) {
        const first = row.logits === 'each' ? row.start + 1 : row.logits === 'last' ? length : length + 1;
        const asked = Array.from({ length: length + 1 - first }, (_, i) => logits(row, first + i));
        const top = (each: Float32Array) => [each.indexOf(Math.max(...each)), Math.max(...each)];
        return Float32Array.from(asked.flatMap((each) => (row.top ? top(each) : [...each])));
      }
      const first = length - row.targets.length;
      return Float32Array.from(row.targets, (target, i) => {
        const values = logits(row, first + i + 1);
        return values[target]! - Math.log(values.reduce((sum, value) => sum + Math.exp(value), 0));
      });
    });
  }

  save(blockTable: readonly number[], from: number, end: number): Float32Array {
    const positions = Array.from({ length: end - from }, (_, i) => from + i);
    return Float32Array.from(positions, (position) => this.#pool[this.#at(blockTable, position)]!);
  }

  restore(blockTable: readonly number[], from: number, saved: Float32Array): void {
    for (const [i, token] of saved.entries()) this.#pool[this.#at(blockTable, from + i)] = token;
  }

  #at(blockTable: readonly number[], position: number): number {
    const { blockSize } = this.shape;
    return blockTable[Math.floor(position / blockSize)]! * blockSize + (position % blockSize);
  }

  prefixTokens(slot: number): number {
    return this.prefixes[slot] ?? 0;
  }

  async loadAdapter(_slot: number, _folder: string): Promise<void> {}

  clearAdapter(): void {}

  async release(): Promise<void> {
    this.released = true;
  }
}
