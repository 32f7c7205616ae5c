import type { ModelConfig } from '../models/config.ts';

/** Where tokens of a sequence lie: its blocks in order. */
export type BlockTable = readonly number[];

/**
 * Keys and values of all sequences in blocks of some tokens, one array that the graph reads without a copy:
 * [2 * layers, keyValueHeads, blocks, blockSize, headDim], of each layer its keys, then its values. Blocks that follow
 * one another follow one another in memory for each head, which reading them depends on.
 */
export class KeyValuePool {
  readonly blocks: number;
  readonly blockSize: number;
  readonly data: Float32Array;
  /** Keys and values of all layers: 2 * layers. */
  readonly sides: number;
  readonly heads: number;
  readonly headDim: number;
  /** Of each block. */
  readonly #changes: Float64Array;

  constructor(config: ModelConfig, blocks: number, blockSize: number) {
    this.blocks = blocks;
    this.blockSize = blockSize;
    this.sides = 2 * config.layers;
    this.heads = config.keyValueHeads;
    this.headDim = config.headDim;
    this.data = new Float32Array(this.sides * this.heads * blocks * blockSize * this.headDim);
    this.#changes = new Float64Array(blocks);
  }

  /** How often something was put into a block: as long as that is the same, its content is. */
  changes(block: number): number {
    return this.#changes[block]!;
  }

  /** Says that something is put into a block. @returns how often that was */
  changed(block: number): number {
    return ++this.#changes[block]!;
  }

  /** Values of one token in one side: heads * headDim. */
  get width(): number {
    return this.heads * this.headDim;
  }

  /**
   * Writes to the first blocks, so that the system gives their memory now: a fault for each page of each head in each
   * layer is otherwise part of a sequence's first step there.
   */
  commit(blocks: number): void {
    const size = this.blockSize * this.headDim;
    for (let row = 0; row < this.sides * this.heads * this.blocks; row += this.blocks)
      this.data.fill(0, row * size, (row + Math.min(blocks, this.blocks)) * size);
  }

  /** Fills a block with zeros: the graph reads whole blocks, and what is masked must be finite still. */
  clear(block: number): void {
    this.changed(block);
    const size = this.blockSize * this.headDim;
    for (let row = block; row < this.sides * this.heads * this.blocks; row += this.blocks)
      this.data.fill(0, row * size, (row + 1) * size);
  }

  /**
   * Puts a token's keys and values to its place.
   * @param source [sides, ..., width]; the token's own in side s begin at from + s * stride
   */
  write(table: BlockTable, position: number, source: Float32Array, from: number, stride: number): void {
    const { headDim, heads, data } = this;
    this.changed(table[Math.floor(position / this.blockSize)]!);
    for (let side = 0; side < this.sides; side++) {
      for (let head = 0; head < heads; head++) {
        const at = this.offset(side, head, table, position);
        const own = from + side * stride + head * headDim;
        for (let i = 0; i < headDim; i++) data[at + i] = source[own + i]!;
      }
    }
  }

  /** Copies positions from..end out: [end - from, sides, width], to be put back by `restore`. */
  save(table: BlockTable, from: number, end: number): Float32Array {
    const { sides, heads, headDim, width } = this;
    const saved = new Float32Array((end - from) * sides * width);
    let to = 0;
    for (let position = from; position < end; position++) {
      for (let side = 0; side < sides; side++) {
        for (let head = 0; head < heads; head++, to += headDim) {
          const at = this.offset(side, head, table, position);
          saved.set(this.data.subarray(at, at + headDim), to);
        }
      }
    }
    return saved;
  }

  /** Puts what `save` gave back behind the positions before `from`. */
  restore(table: BlockTable, from: number, saved: Float32Array): void {
    const { sides, width } = this;
    const count = saved.length / (sides * width);
    for (let i = 0; i < count; i++) this.write(table, from + i, saved, i * sides * width, width);
  }

  /**
   * Products of a query with the keys of a sequence's positions.
   * @param query [headDim]
   * @param products [end], filled from `begin` on
   */
  dotKeys(
    layer: number,
    head: number,
    table: BlockTable,
    query: Float32Array,
    products: Float32Array,
    [begin, end]: readonly [number, number],
  ): void {
    const { headDim, data } = this;
    for (let position = begin; position < end; position++) {
      const at = this.offset(2 * layer, head, table, position);
      let sum = 0;
      for (let i = 0; i < headDim; i++) sum += query[i]! * data[at + i]!;
      products[position] = sum;
    }
  }

  /** Where a token's keys or values of a head begin in `data`. */
  offset(side: number, head: number, table: BlockTable, position: number): number {
    const block = table[Math.floor(position / this.blockSize)]!;
    const row = (side * this.heads + head) * this.blocks + block;
    return (row * this.blockSize + (position % this.blockSize)) * this.headDim;
  }
}
