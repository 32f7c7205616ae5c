import type { Automaton } from './automaton.ts';

/** A point in a text that is held to a language. States are never changed, so that a copy of one costs nothing. */
export interface GrammarState {
  /**
   * The tokens that may come next, one bit each, 32 a word, token 0 the lowest bit of word 0: those after which the
   * text is still the beginning of one in the language, and the end tokens where it is one. Not to be changed.
   * @throws GrammarError when no token may come, or finding out costs more than a step may.
   */
  mask(): Int32Array;
  /** Whether this token may come next; cheaper than the mask for a few tokens. */
  allows(token: number): boolean;
  /** The point behind an allowed token; behind an end token nothing changes. */
  after(token: number): GrammarState;
}

/** A compiled language as plain data that can cross a thread. */
export interface GrammarSpec {
  /** Digest of the constraint: the same language is prepared once. */
  key: string;
  automaton: Automaton;
}

/** The language can't be followed any further; it ends the request and nothing else. */
export class GrammarError extends Error {
  override name = 'GrammarError';
}
