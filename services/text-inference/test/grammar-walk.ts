/** Texts through grammars, without a model. */

import { compileConstraint } from '../src/engine/grammar/compile.ts';
import type { Constraint } from '../src/engine/grammar/constraint.ts';
import { Dfa, type DfaState } from '../src/engine/grammar/dfa.ts';
import { Grammars } from '../src/engine/grammar/grammars.ts';
import { Vocabulary } from '../src/engine/grammar/vocabulary.ts';

/** End token of the vocabularies made here; a byte's token is the byte + 1. */
export const END = 0;

const encoder = new TextEncoder();

/** Every byte, and these texts as tokens of their own. */
export function vocabularyOf(texts: readonly string[] = []): Vocabulary {
  const bytes = Array.from({ length: 256 }, (_, byte) => Uint8Array.of(byte));
  return new Vocabulary([undefined, ...bytes, ...texts.map((text) => encoder.encode(text))], [END]);
}

/** Says of texts whether they are in the constraint's language. */
export function accepting(constraint: Constraint): (text: string) => boolean {
  const dfa = new Dfa(compileConstraint(constraint).automaton);
  return (text) => {
    dfa.allow(Number.POSITIVE_INFINITY);
    let state: DfaState | null = dfa.start;
    for (const byte of encoder.encode(text)) {
      state = dfa.step(state, dfa.classOf[byte]!);
      if (!state) return false;
    }
    return state.accepting;
  };
}

/**
 * A text of the language, token by token as chance takes them; after `most` tokens it takes the lowest of those
 * that may come, so that it comes to an end as a rule.
 * @returns undefined where it did not.
 */
export function walk(
  constraint: Constraint,
  vocabulary: Vocabulary,
  next: () => number,
  most = 200,
): string | undefined {
  let state = new Grammars(vocabulary).start(compileConstraint(constraint));
  const bytes: number[] = [];
  for (let length = 0; length < 4 * most; length++) {
    const mask = state.mask();
    const allowed = Array.from({ length: vocabulary.size }, (_, t) => t).filter(
      (t) => (mask[t >>> 5]! >>> (t & 31)) & 1,
    );
    const ends = allowed.includes(END);
    const token = ends && (length > most || next() < 0.3) ? END : pick(allowed, length > most, next);
    if (token === END) return new TextDecoder('utf-8', { fatal: true }).decode(Uint8Array.from(bytes));
    bytes.push(...vocabulary.bytesOf(token)!);
    state = state.after(token);
  }
  return undefined;
}

/** Brackets and quotes that close are as likely as all else together, or texts would grow without end. */
function pick(allowed: number[], hurry: boolean, next: () => number): number {
  const closing = allowed.filter((t) => '"]}'.includes(String.fromCharCode(t - 1)));
  const from = closing.length > 0 && (hurry || next() < 0.5) ? closing : allowed;
  return from[Math.floor(next() * from.length)]!;
}
