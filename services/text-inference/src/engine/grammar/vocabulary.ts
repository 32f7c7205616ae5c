/** The tokenizer's tokens as bytes, in a trie that is walked once a state to find those that may come next. */

export class Vocabulary {
  /** Tokens that there are ids for. */
  readonly size: number;
  readonly endTokens: readonly number[];
  readonly #bytes: readonly (Uint8Array | undefined)[];
  /** The trie's nodes in depth-first order: the byte, the depth from 0, and the node behind the whole subtree. */
  readonly byte: Uint8Array;
  readonly depth: Uint16Array;
  readonly end: Int32Array;
  /** A token that ends at the node, or -1, and the next token of the same bytes. */
  readonly token: Int32Array;
  readonly same: Int32Array;
  readonly deepest: number;

  /**
   * @param bytes of each token [vocabulary]; undefined or none for those that are no text. What is longer than 65,535
   * bytes is left out.
   * @param endTokens ids that end a text.
   */
  constructor(bytes: readonly (Uint8Array | undefined)[], endTokens: readonly number[]) {
    const ends = new Set(endTokens);
    this.size = bytes.length;
    this.endTokens = [...ends].filter((t) => t < bytes.length);
    this.#bytes = bytes.map((b, t) =>
      b && b.length > 0 && b.length < 65_536 && !ends.has(t) ? b : undefined,
    );
    const texts = this.#bytes.map((b) => (b ? Buffer.from(b).toString('latin1') : ''));
    const order = [...texts.keys()].filter((t) => texts[t] !== '');
    order.sort((a, b) => (texts[a]! < texts[b]! ? -1 : texts[a]! > texts[b]! ? 1 : a - b));

    const byte: number[] = [];
    const depth: number[] = [];
    const token: number[] = [];
    this.same = new Int32Array(bytes.length).fill(-1);
    let before = '';
    let last = -1;
    let deepest = 0;
    for (const id of order) {
      const text = texts[id]!;
      if (text === before) this.same[last] = id;
      let common = 0;
      while (common < before.length && common < text.length && before[common] === text[common]) common++;
      for (let i = common; i < text.length; i++) {
        byte.push(text.charCodeAt(i));
        depth.push(i);
        token.push(i === text.length - 1 ? id : -1);
      }
      deepest = Math.max(deepest, text.length);
      before = text;
      last = id;
    }
    this.byte = Uint8Array.from(byte);
    this.depth = Uint16Array.from(depth);
    this.token = Int32Array.from(token);
    this.end = new Int32Array(byte.length);
    this.deepest = deepest;
    // From the back: a subtree ends where the next node of its depth or above begins.
    const next = new Int32Array(deepest + 1).fill(byte.length);
    for (let node = byte.length - 1; node >= 0; node--) {
      const d = this.depth[node]!;
      this.end[node] = next[d]!;
      for (let deeper = d; deeper <= deepest && next[deeper] !== node; deeper++) next[deeper] = node;
    }
  }

  /** Bytes of a token that is text. */
  bytesOf(token: number): Uint8Array | undefined {
    return this.#bytes[token];
  }
}
