/**
 * The pool of key/value blocks (Kwon et al. 2023, vLLM): a block holds a fixed number of tokens of one sequence in
 * every layer, and a sequence's block table names its blocks in order. This class only keeps the books; the arrays
 * belong to the runner.
 */
export class BlockManager {
  readonly blockSize: number;
  readonly blocks: number;
  #free: number[];

  /** @param blocks in the pool. @param blockSize tokens a block holds. */
  constructor(blocks: number, blockSize: number) {
    this.blocks = blocks;
    this.blockSize = blockSize;
    // Taken from the end, so that low numbers go first: traces read well, and a little used pool stays in cache.
    this.#free = Array.from({ length: blocks }, (_, i) => blocks - 1 - i);
  }

  get free(): number {
    return this.#free.length;
  }

  /** Blocks that hold this many tokens. */
  blocksFor(tokens: number): number {
    return Math.ceil(tokens / this.blockSize);
  }

  /** Grows `table` in place until it holds `tokens`; false, and nothing taken, when the pool has too few. */
  grow(table: number[], tokens: number): boolean {
    const missing = this.blocksFor(tokens) - table.length;
    if (missing > this.#free.length) return false;
    for (let i = 0; i < missing; i++) table.push(this.#free.pop()!);
    return true;
  }

  /** Gives all blocks of `table` back and empties it. */
  release(table: number[]): void {
    while (table.length > 0) this.#free.push(table.pop()!);
  }
}
