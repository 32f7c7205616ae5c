import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { END, vocabularyOf } from '../../../test/grammar-walk.ts';
import { random } from '../../../test/tiny-model.ts';
import { compileConstraint } from './compile.ts';
import { Dfa } from './dfa.ts';
import { GrammarError } from './grammar-state.ts';
import { Grammars } from './grammars.ts';
import { Masks } from './masks.ts';
import { Vocabulary } from './vocabulary.ts';

const seed = Number(process.env.LANDFALL_TEST_SEED ?? Date.now() % 1e6);
console.log(`LANDFALL_TEST_SEED=${seed}`);

const encoder = new TextEncoder();
const regex = (pattern: string) => compileConstraint({ kind: 'regex', pattern });
const allowedBy = (mask: Int32Array, size: number) =>
  Array.from({ length: size }, (_, t) => t).filter((t) => (mask[t >>> 5]! >>> (t & 31)) & 1);

describe('a mask', () => {
  test('has a bit for just the tokens that begin what the language has, over random vocabularies', () => {
    const options = ['ab', 'abc', 'b高c', 'b高高', 'cab'];
    const piece = fc.array(fc.constantFrom('a', 'b', 'c', '高', 'ab', 'bc'), { minLength: 1, maxLength: 3 });
    const tokens = fc.array(
      fc.oneof(
        piece.map((p) => p.join('')),
        fc.constantFrom('', '\ufffd', 'b高'),
      ),
      {
        minLength: 1,
        maxLength: 70,
      },
    );
    const spec = compileConstraint({ kind: 'choice', options });
    const whole = options.map((option) => Buffer.from(encoder.encode(option)).toString('latin1'));
    fc.assert(
      fc.property(tokens, fc.infiniteStream(fc.nat()), (texts, choices) => {
        // The first token ends a text; some tokens are special, some have equal bytes.
        const bytes = [
          undefined,
          ...texts.map((text) => encoder.encode(text)),
          Uint8Array.of(0xe9),
          undefined,
        ];
        const vocabulary = new Vocabulary(bytes, [END]);
        let state = new Grammars(vocabulary).start(spec);
        let written = '';
        for (const choice of choices) {
          const expected = bytes.flatMap((token, id) => {
            if (id === END) return whole.includes(written) ? [id] : [];
            const next = token?.length ? written + Buffer.from(token).toString('latin1') : undefined;
            return next !== undefined && whole.some((option) => option.startsWith(next)) ? [id] : [];
          });
          for (const id of bytes.keys()) expect(state.allows(id)).toBe(expected.includes(id));
          if (expected.length === 0) {
            expect(() => state.mask()).toThrow(GrammarError);
            return;
          }
          expect(allowedBy(state.mask(), bytes.length)).toEqual(expected);
          const token = expected[choice % expected.length]!;
          const before = state;
          state = state.after(token);
          if (token === END) {
            expect(state).toBe(before);
            return;
          }
          written += Buffer.from(bytes[token]!).toString('latin1');
        }
      }),
      { seed, numRuns: 200 },
    );
  });

  test('is kept while there is room, and computed again after', () => {
    const vocabulary = vocabularyOf();
    const masks = new Masks(vocabulary, 3 * 4 * Math.ceil(vocabulary.size / 32));
    const states = Array.from('abcdef', (letter) => new Grammars(vocabulary, masks).start(regex(letter)));
    const first = states.map((state) => state.mask());
    expect(masks.size).toBe(3);
    states.forEach((state, i) => {
      expect(state.mask()).toEqual(first[i]);
    });
    expect(states[5]!.mask()).toBe(states[5]!.mask());
    expect(masks.size).toBe(3);
  });

  test('of a token that is not allowed can not be gone on with', () => {
    const state = new Grammars(vocabularyOf()).start(regex('ab'));
    expect(() => state.after(1 + 'b'.charCodeAt(0))).toThrow(GrammarError);
    expect(() => state.after(9999)).toThrow(GrammarError);
  });
});

describe('a language with more states than can be kept', () => {
  test('is followed without end: what was made is forgotten and made again', () => {
    // Whether the 17th letter from the end is an a: 2^17 states.
    const dfa = new Dfa(regex('[ab]*a[ab]{16}').automaton);
    dfa.allow(Number.POSITIVE_INFINITY);
    const next = random(seed);
    let state = dfa.start;
    let written = '';
    for (let i = 0; i < 60_000; i++) {
      const letter = next() < 0.5 ? 'a' : 'b';
      written = (written + letter).slice(-17);
      state = dfa.step(state, dfa.classOf[letter.charCodeAt(0)]!)!;
      if (state.accepting !== (written.length === 17 && written[0] === 'a'))
        throw new Error(`at letter ${i}`);
    }
    expect(dfa.kept).toBeLessThanOrEqual(1 << 20);
  });

  test('ends its request alone when one token takes too much work', () => {
    // Each step of the walk through the vocabulary meets thousands of states at once.
    const hostile = regex('(.?.?.?.?.?.?.?.?.?.?){200}x');
    const words = Array.from({ length: 3000 }, (_, i) => i.toString(36).split('').join('é').repeat(4));
    const vocabulary = vocabularyOf(words);
    const grammars = new Grammars(vocabulary);
    const follow = () => {
      let state = grammars.start(hostile);
      for (let i = 0; i < 50; i++) {
        state.mask();
        state = state.after(1 + 'a'.charCodeAt(0));
      }
    };
    expect(follow).toThrow(GrammarError);
    expect(allowedBy(grammars.start(regex('a')).mask(), vocabulary.size)).toEqual([98]);
  });
});
