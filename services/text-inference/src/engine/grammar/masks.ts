/** The tokens that may follow a state, computed once and kept while there is room. */

import type { Dfa, DfaState } from './dfa.ts';
import type { Vocabulary } from './vocabulary.ts';

const MOST_BYTES = 64 * 1024 * 1024;

export class Masks {
  readonly #vocabulary: Vocabulary;
  readonly #most: number;
  /** Those with a mask, the one unused for longest first. */
  readonly #kept = new Set<DfaState>();
  readonly #stack: (DfaState | null)[];

  constructor(vocabulary: Vocabulary, mostBytes = MOST_BYTES) {
    this.#vocabulary = vocabulary;
    this.#most = Math.max(1, Math.floor(mostBytes / (4 * Math.ceil(vocabulary.size / 32))));
    this.#stack = new Array(vocabulary.deepest + 1).fill(null);
  }

  /** Masks that are kept now. */
  get size(): number {
    return this.#kept.size;
  }

  of(dfa: Dfa, state: DfaState): Int32Array {
    const mask = state.mask ?? this.#compute(dfa, state);
    this.#kept.delete(state);
    this.#kept.add(state);
    state.mask = mask;
    if (this.#kept.size > this.#most) {
      const oldest = this.#kept.values().next().value!;
      oldest.mask = undefined;
      this.#kept.delete(oldest);
    }
    return mask;
  }

  /** Walks the trie; what begins with bytes that lead nowhere is passed over as a whole. */
  #compute(dfa: Dfa, state: DfaState): Int32Array {
    const { byte, depth, end, token, same, size, endTokens } = this.#vocabulary;
    const { classOf } = dfa;
    const mask = new Int32Array(Math.ceil(size / 32));
    const stack = this.#stack;
    stack[0] = state;
    for (let node = 0; node < byte.length; ) {
      const from = stack[depth[node]!]!;
      const byteClass = classOf[byte[node]!]!;
      const to = from.next[byteClass] ?? dfa.step(from, byteClass);
      if (to === null) {
        node = end[node]!;
        continue;
      }
      stack[depth[node]! + 1] = to;
      for (let id = token[node]!; id >= 0; id = same[id]!) mask[id >>> 5]! |= 1 << (id & 31);
      node++;
    }
    if (state.accepting) for (const id of endTokens) mask[id >>> 5]! |= 1 << (id & 31);
    stack.fill(null);
    return mask;
  }
}
