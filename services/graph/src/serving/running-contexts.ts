import { Tensor as OrtTensor } from 'onnxruntime-node';
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
  /** Tokens. */
  length: number;
  /** What was read, and how often each had been written to then. */
  blocks: number[];
  changes: number[];
}

/** Room for contexts comes in parts of it that double with its size, a quarter of it at most; these are the ends. */
const SMALLEST_PART = 32;
const LARGEST_PART = 256;

/**
 * Contexts of sequences that are being gone on with, each copied out of the pool into one piece of memory for each head
 * of each side, so that a step's attention reads them where they lie. What was there at the step before is not copied
 * again: a sequence keeps its place, and its new token is put behind the others.
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
    this.#sides = [];
    this.#places = [];
    this.#held = { size: 0, feeds: {} };
  }

  /** Those to be held next, each at its place of the last time where it has one. */
  inPlace<T>(given: readonly T[], contextOf: (each: T) => Context): T[] {
    const places = new Map(this.#places.slice(0, given.length).map(({ blockTable }, i) => [blockTable, i]));
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
    for (const [i, context] of contexts.entries()) this.#bring(i, context);
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

  /**
   * Puts a token behind a context that is held, which was written to the pool there before.
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
      // What lay where they begin now is anybody's.
      this.#places = [];
    }
    const fresh = count > room;
    while (this.#places.length < count)
      this.#places.push({ blockTable: undefined, length: fresh ? 0 : size, blocks: [], changes: [] });
    this.#size = size;
    return true;
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
    this.#copy(index, blockTable, Math.min(same * blockSize, place.length, start), start);
    this.#clear(index, start, place.length);
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
