/** The languages that a model's outputs are held to now, each prepared once. */

import { Dfa, type DfaState } from './dfa.ts';
import { GrammarError, type GrammarSpec, type GrammarState } from './grammar-state.ts';
import { Masks } from './masks.ts';
import type { Vocabulary } from './vocabulary.ts';

const MOST_GRAMMARS = 64;
/** Moves looked at for one token: some tens of milliseconds where a language is hostile. */
const WORK = 1_000_000;

export class Grammars {
  readonly #vocabulary: Vocabulary;
  readonly #masks: Masks;
  /** By key, the one unused for longest first. */
  readonly #known = new Map<string, Dfa>();

  constructor(vocabulary: Vocabulary, masks = new Masks(vocabulary)) {
    this.#vocabulary = vocabulary;
    this.#masks = masks;
  }

  /** The beginning of a text in the language. @throws GrammarError */
  start({ key, automaton }: GrammarSpec): GrammarState {
    const dfa = this.#known.get(key) ?? new Dfa(automaton);
    this.#known.delete(key);
    this.#known.set(key, dfa);
    if (this.#known.size > MOST_GRAMMARS) this.#known.delete(this.#known.keys().next().value!);
    dfa.allow(WORK);
    return new TokenState(this.#vocabulary, this.#masks, dfa, dfa.start);
  }
}

class TokenState implements GrammarState {
  readonly #vocabulary: Vocabulary;
  readonly #masks: Masks;
  readonly #dfa: Dfa;
  readonly #state: DfaState;

  constructor(vocabulary: Vocabulary, masks: Masks, dfa: Dfa, state: DfaState) {
    this.#vocabulary = vocabulary;
    this.#masks = masks;
    this.#dfa = dfa;
    this.#state = state;
  }

  mask(): Int32Array {
    this.#dfa.allow(WORK);
    const mask = this.#masks.of(this.#dfa, this.#state);
    if (mask.every((bits) => bits === 0))
      throw new GrammarError('the vocabulary has no token for what the constraint wants next');
    return mask;
  }

  allows(token: number): boolean {
    if (this.#vocabulary.endTokens.includes(token)) return this.#state.accepting;
    this.#dfa.allow(WORK);
    return this.#behind(token) !== null;
  }

  after(token: number): GrammarState {
    if (this.#vocabulary.endTokens.includes(token)) return this;
    this.#dfa.allow(WORK);
    const next = this.#behind(token);
    if (!next) throw new GrammarError(`token ${token} is not one that the constraint allows`);
    return new TokenState(this.#vocabulary, this.#masks, this.#dfa, next);
  }

  #behind(token: number): DfaState | null {
    const bytes = this.#vocabulary.bytesOf(token);
    if (!bytes) return null;
    let state: DfaState | null = this.#state;
    for (const byte of bytes) {
      state = this.#dfa.step(state, this.#dfa.classOf[byte]!);
      if (!state) return null;
    }
    return state;
  }
}
