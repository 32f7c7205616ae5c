interface Node {
  next: Map<number, Node>;
  /** Symbols from the root. */
  depth: number;
  fail: Node | undefined;
  /** Words that end here, by number. */
  words: number[];
}

const node = (depth: number): Node => ({ next: new Map(), depth, fail: undefined, words: [] });

/** Finds any number of words in one pass over a text's symbols (Aho and Corasick, 1975). */
export class Automaton {
  readonly #root = node(0);
  /** By the last 16 bits of a symbol: whether a word may begin with it. Most symbols of a text begin none. */
  readonly #first = new Uint8Array(65536);
  /** Nothing is ever found. */
  readonly isEmpty: boolean;

  constructor(words: readonly (readonly number[])[]) {
    this.isEmpty = words.every((word) => word.length === 0);
    words.forEach((word, number) => {
      let at = this.#root;
      if (word.length > 0) this.#first[word[0]! & 0xffff] = 1;
      for (const symbol of word) {
        const next = at.next.get(symbol) ?? node(at.depth + 1);
        at.next.set(symbol, next);
        at = next;
      }
      if (word.length > 0) at.words.push(number);
    });
    const queue = [this.#root];
    for (let at = queue.shift(); at; at = queue.shift()) {
      for (const [symbol, child] of at.next) {
        child.fail = at === this.#root ? this.#root : this.#step(at.fail!, symbol);
        child.words.push(...child.fail.words);
        queue.push(child);
      }
    }
  }

  /**
   * Calls `found` with a word's number and the symbol that it ends with.
   * @returns how many of the last symbols may be the beginning of a word
   */
  run(symbols: readonly number[], found: (word: number, last: number) => void): number {
    if (this.isEmpty) return 0;
    let at = this.#root;
    for (let i = 0; i < symbols.length; i++) {
      const symbol = symbols[i]!;
      if (at === this.#root && this.#first[symbol & 0xffff] === 0) continue;
      at = this.#step(at, symbol);
      for (const word of at.words) found(word, i);
    }
    return at.depth;
  }

  #step(from: Node, symbol: number): Node {
    let at = from;
    for (;;) {
      const next = at.next.get(symbol);
      if (next) return next;
      if (!at.fail) return at;
      at = at.fail;
    }
  }
}
