/**
 * The pool of key/value blocks (Kwon et al. 2023, vLLM): a block holds a fixed number of tokens in every layer, and a
 * sequence's block table names its blocks in order. A full block of a prompt is known by a hash of everything up to its
 * end, and whoever begins the same way shares it; when nobody uses it any more it stays until its place is needed, the
 * one that was used longest ago going first. This class only keeps the books; the arrays belong to the runner.
 */
export class BlockManager {
  readonly blockSize: number;
  readonly blocks: number;
  /** Blocks without content. */
  #empty: number[];
  /** Users by block; absent for none. */
  readonly #users = new Map<number, number>();
  /** Block by the hash of what it holds. */
  readonly #byHash = new Map<string, number>();
  readonly #hashes = new Map<number, string>();
  /** Blocks with content and without users, the longest unused first. */
  readonly #idle = new Set<number>();

  /** @param blocks in the pool. @param blockSize tokens a block holds. */
  constructor(blocks: number, blockSize: number) {
    this.blocks = blocks;
    this.blockSize = blockSize;
    // Taken from the end, so that low numbers go first: traces read well, and neighbours are read faster.
    this.#empty = Array.from({ length: blocks }, (_, i) => blocks - 1 - i);
  }

  /** Blocks that can be had, those included that hold what nobody uses now. */
  get free(): number {
    return this.#empty.length + this.#idle.size;
  }

  /** Blocks whose content can be shared. */
  get cached(): number {
    return this.#byHash.size;
  }

  /** Blocks that hold this many tokens. */
  blocksFor(tokens: number): number {
    return Math.ceil(tokens / this.blockSize);
  }

  /** Grows `table` in place until it holds `tokens`; false, and nothing taken, when the pool has too few. */
  grow(table: number[], tokens: number): boolean {
    const missing = this.blocksFor(tokens) - table.length;
    if (missing > this.free) return false;
    for (let i = 0; i < missing; i++) {
      const block = this.#empty.pop() ?? this.#evict();
      this.#users.set(block, 1);
      table.push(block);
    }
    return true;
  }

  /** Blocks of `table` that nobody else uses: giving it back frees them. */
  ownedBy(table: readonly number[]): number {
    return table.filter((block) => this.#users.get(block) === 1).length;
  }

  /** How many of the blocks with these hashes, from the first on, are there. */
  known(hashes: readonly string[]): number {
    const missing = hashes.findIndex((hash) => !this.#byHash.has(hash));
    return missing < 0 ? hashes.length : missing;
  }

  /** Of the first `count` blocks with these hashes, those that nobody uses now: sharing them takes them from the free. */
  idle(hashes: readonly string[], count: number): number {
    return hashes.slice(0, count).filter((hash) => this.#idle.has(this.#byHash.get(hash)!)).length;
  }

  /** Puts the first `count` of the blocks with these hashes into an empty table, shared. */
  share(table: number[], hashes: readonly string[], count: number): void {
    for (const hash of hashes.slice(0, count)) {
      const block = this.#byHash.get(hash)!;
      this.#idle.delete(block);
      this.#users.set(block, (this.#users.get(block) ?? 0) + 1);
      table.push(block);
    }
  }

  /** The content of a block is computed and can be shared. Of two with the same content the first is. */
  publish(block: number, hash: string): void {
    if (this.#byHash.has(hash) || this.#hashes.has(block)) return;
    this.#byHash.set(hash, block);
    this.#hashes.set(block, hash);
  }

  /** Gives all blocks of `table` back and empties it: what comes last is forgotten first, since it needs what is before. */
  release(table: number[]): void {
    while (table.length > 0) {
      const block = table.pop()!;
      const users = this.#users.get(block)! - 1;
      if (users > 0) this.#users.set(block, users);
      else {
        this.#users.delete(block);
        if (this.#hashes.has(block)) this.#idle.add(block);
        else this.#empty.push(block);
      }
    }
  }

  #evict(): number {
    const [block] = this.#idle;
    this.#idle.delete(block!);
    this.#byHash.delete(this.#hashes.get(block!)!);
    this.#hashes.delete(block!);
    return block!;
  }
}
