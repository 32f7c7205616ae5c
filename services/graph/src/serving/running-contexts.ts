import { Tensor as OrtTensor } from 'onnxruntime-node';
import { giveBack } from '../onnx/session.ts';
import type { BlockTable, KeyValuePool } from './key-value-pool.ts';

/** What a sequence has in the pool before its next token. */
export interface Context {
  blockTable: BlockTable;
  /** Tokens. */
  start: number;
}

/** What `RunningContexts.hold` has ready. */
export interface HeldContexts {
  /** Tokens that there is room for in each context. */
  size: number;
  /** `context:SIDE` of each side: [contexts, heads, size, headDim]. */
  feeds: Readonly<Record<string, OrtTensor>>;
}

/** The name under which the graph reads a side of the contexts. */
export const contextOf = (side: number) => `context:${side}`;

/** A context that lies here; behind its tokens are zeros. */
interface Place {
  blockTable: BlockTable | undefined;
  /** Whether it lies at an earlier place too, which is the one that counts. */
  again: boolean;
  /** Tokens. */
  length: number;
  /** Those of them that the pool has too. */
  pooled: number;
  /** Where they are in the pool, and how often something had been put there when both had the same. */
  blocks: number[];
  changes: number[];
}

/** Room for contexts comes in parts of it that double with its size, a quarter of it at most; these are the ends. */
const SMALLEST_PART = 32;
const LARGEST_PART = 256;

/**
 * Contexts of sequences that are being gone on with, each copied out of the pool into one piece of memory for each head
 * of each side, so that a step's attention reads them where they lie. What was there at the step before is not copied
 * again: a sequence keeps its place, and its new token is put behind the others. The pool gets it when somebody is to
 * read it there: one at a time they would be as many misses of the caches once more.
 */
export class RunningContexts {
  readonly #pool: KeyValuePool;
  #sides: Float32Array[] = [];
  #places: Place[] = [];
  #size = 0;
  #held: HeldContexts = { size: 0, feeds: {} };
  /** Contexts that `#held` has. */
  #count = 0;

  constructor(pool: KeyValuePool) {
    this.#pool = pool;
  }

  /** Memory that they take. */
  get byteLength(): number {
    return this.#sides.reduce((sum, side) => sum + side.byteLength, 0);
  }

  /** Gives the memory back. */
  release(): void {
    this.#leave();
    for (const side of this.#sides) giveBack(side);
    this.#sides = [];
    this.#held = { size: 0, feeds: {} };
  }

  /** Those to be held next, each at its place of the last time where it has one. */
  inPlace<T>(given: readonly T[], contextOf: (each: T) => Context): T[] {
    const places = new Map<BlockTable | undefined, number>();
    for (const [i, { blockTable, again }] of this.#places.slice(0, given.length).entries())
      if (!again && !places.has(blockTable)) places.set(blockTable, i);
    const placed = new Array<T | undefined>(given.length).fill(undefined);
    const left: T[] = [];
    for (const each of given) {
      const { blockTable } = contextOf(each);
      const at = places.get(blockTable);
      places.delete(blockTable);
      if (at === undefined) left.push(each);
      else placed[at] = each;
    }
    return placed.map((each) => each ?? left.shift()!);
  }

  /** Brings these contexts here, in this order; undefined where they need more than `mostBytes`. */
  hold(contexts: readonly Context[], mostBytes: number): HeldContexts | undefined {
    const size = this.#sizeFor(1 + Math.max(...contexts.map(({ start }) => start)));
    if (!this.#makeRoom(contexts.length, size, mostBytes)) return undefined;
    // Before any place is another's.
    for (const [i, { blockTable, start }] of contexts.entries()) {
      const place = this.#places[i]!;
      if (place.blockTable !== blockTable || place.length !== start) this.flush(blockTable);
    }
    for (const [i, context] of contexts.entries()) this.#bring(i, context);
    for (const [i, { blockTable }] of contexts.entries())
      this.#places[i]!.again = contexts.findIndex((other) => other.blockTable === blockTable) < i;
    if (this.#held.size !== size || this.#count !== contexts.length) {
      const { heads, headDim } = this.#pool;
      const dims = [contexts.length, heads, size, headDim];
      const length = dims.reduce((product, n) => product * n, 1);
      const feeds = this.#sides.map((side, s) => [
        contextOf(s),
        new OrtTensor('float32', side.subarray(0, length), dims),
      ]);
      this.#held = { size, feeds: Object.fromEntries(feeds) };
      this.#count = contexts.length;
    }
    return this.#held;
  }

  /** Puts to the pool what it lacks of those that lie here and in these blocks. */
  flush(blockTable: BlockTable): void {
    for (const [i, { pooled, length, blocks }] of this.#places.entries()) {
      const b = Math.floor(pooled / this.#pool.blockSize);
      if (pooled < length && blocks[b] === blockTable[b]) this.#write(i);
    }
  }

  /**
   * Puts a token behind a context that is held.
   * @param source as KeyValuePool.write has it, and so `from` and `stride`
   */
  append(index: number, source: Float32Array, from: number, stride: number): void {
    const { heads, headDim, blockSize } = this.#pool;
    const place = this.#places[index]!;
    const at = (index * heads * this.#size + place.length) * headDim;
    for (const [s, side] of this.#sides.entries()) {
      for (let head = 0; head < heads; head++) {
        const to = at + head * this.#size * headDim;
        const own = from + s * stride + head * headDim;
        for (let i = 0; i < headDim; i++) side[to + i] = source[own + i]!;
      }
    }
    const b = Math.floor(place.length / blockSize);
    place.blocks[b] = place.blockTable![b]!;
    place.changes[b] = this.#pool.changes(place.blocks[b]!);
    place.length++;
    if (place.again) place.pooled = place.length;
  }

  /** The size of before where it fits, so that nothing has to be copied anew. */
  #sizeFor(tokens: number): number {
    const part = Math.min(LARGEST_PART, Math.max(SMALLEST_PART, 2 ** Math.floor(Math.log2(tokens / 4))));
    const size = Math.ceil(tokens / part) * part;
    return tokens <= this.#size && 2 * this.#size <= 3 * size ? this.#size : size;
  }

  #makeRoom(count: number, size: number, mostBytes: number): boolean {
    const { sides, heads, headDim } = this.#pool;
    const one = heads * size * headDim;
    const room = this.#sides.length > 0 ? Math.floor(this.#sides[0]!.length / one) : 0;
    if (count > room) {
      const fits = Math.floor(mostBytes / (sides * one * Float32Array.BYTES_PER_ELEMENT));
      if (count > fits) return false;
      // Others will come.
      const places = Math.min(fits, 2 ** Math.ceil(Math.log2(count)));
      // The old ones go before the new ones come.
      this.release();
      this.#sides = Array.from({ length: sides }, () => new Float32Array(places * one));
    } else if (size !== this.#size) {
      this.#leave();
    }
    // Where there was something before, all of it is to be cleared.
    const length = count > room ? 0 : size;
    while (this.#places.length < count)
      this.#places.push({
        blockTable: undefined,
        again: false,
        length,
        pooled: length,
        blocks: [],
        changes: [],
      });
    this.#size = size;
    return true;
  }

  /** No context has a place any more. */
  #leave(): void {
    for (const i of this.#places.keys()) this.#write(i);
    this.#places = [];
  }

  /** Puts to the pool what it lacks of a context, but into blocks that have become another's. */
  #write(index: number): void {
    const { heads, headDim, data, blockSize } = this.#pool;
    const place = this.#places[index]!;
    if (place.pooled === place.length) return;
    for (let b = Math.floor(place.pooled / blockSize); b * blockSize < place.length; b++) {
      const block = place.blocks[b]!;
      if (this.#pool.changes(block) !== place.changes[b]) break;
      const first = Math.max(place.pooled, b * blockSize);
      const length = (Math.min(place.length, (b + 1) * blockSize) - first) * headDim;
      for (const [s, side] of this.#sides.entries()) {
        for (let head = 0; head < heads; head++) {
          const at = ((index * heads + head) * this.#size + first) * headDim;
          data.set(side.subarray(at, at + length), this.#pool.offset(s, head, place.blocks, first));
        }
      }
      place.changes[b] = this.#pool.changed(block);
    }
    place.pooled = place.length;
  }

  /** Copies what is not there yet of a context, and leaves zeros behind it. */
  #bring(index: number, { blockTable, start }: Context): void {
    const { blockSize } = this.#pool;
    const place = this.#places[index]!;
    const blocks = Math.ceil(start / blockSize);
    let same = 0;
    while (
      same < Math.min(blocks, place.blocks.length) &&
      place.blocks[same] === blockTable[same] &&
      place.changes[same] === this.#pool.changes(blockTable[same]!)
    )
      same++;
    // What comes from the pool must be there, and what it lacks of another must go there.
    if (same < blocks || place.blockTable !== blockTable) this.#write(index);
    this.#copy(index, blockTable, Math.min(same * blockSize, place.length, start), start);
    this.#clear(index, start, place.length);
    place.pooled = place.blockTable === blockTable ? Math.min(place.pooled, start) : start;
    place.blockTable = blockTable;
    place.length = start;
    place.blocks.length = same;
    place.changes.length = same;
    for (let b = same; b < blocks; b++) {
      place.blocks.push(blockTable[b]!);
      place.changes.push(this.#pool.changes(blockTable[b]!));
    }
  }

  #copy(index: number, blockTable: BlockTable, from: number, end: number): void {
    const { heads, headDim, data, blockSize } = this.#pool;
    for (let first = from; first < end; ) {
      // Blocks that follow one another lie behind one another.
      let block = Math.floor(first / blockSize);
      while ((block + 1) * blockSize < end && blockTable[block + 1] === blockTable[block]! + 1) block++;
      const next = Math.min(end, (block + 1) * blockSize);
      const length = (next - first) * headDim;
      for (const [s, side] of this.#sides.entries()) {
        for (let head = 0; head < heads; head++) {
          const at = this.#pool.offset(s, head, blockTable, first);
          side.set(data.subarray(at, at + length), ((index * heads + head) * this.#size + first) * headDim);
        }
      }
      first = next;
    }
  }

  #clear(index: number, from: number, end: number): void {
    if (from >= end) return;
    const { heads, headDim } = this.#pool;
    for (const side of this.#sides) {
      for (let head = 0; head < heads; head++) {
        const at = (index * heads + head) * this.#size;
        side.fill(0, (at + from) * headDim, (at + end) * headDim);
      }
    }
  }
}
