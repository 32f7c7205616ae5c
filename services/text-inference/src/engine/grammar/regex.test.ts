import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { accepting } from '../../../test/grammar-walk.ts';
import { compileConstraint } from './compile.ts';
import { ConstraintError } from './constraint.ts';

const seed = Number(process.env.LANDFALL_TEST_SEED ?? Date.now() % 1e6);
console.log(`LANDFALL_TEST_SEED=${seed}`);

const ALPHABET = [...'ab1 _-\n', 'é', '高', '😀', '\u{10ffff}'];

/** Expressions that JavaScript reads too, in `u` mode. */
const expression = fc.letrec<{ node: string; atom: string }>((tie) => ({
  atom: fc.oneof(
    fc.constantFrom('a', 'b', '1', '高', '😀', 'é', '.', '\\d', '\\w', '\\s', '\\S', '\\W', '\\n'),
    fc.constantFrom('[ab]', '[^a]', '[a-z0-9]', '[é-高]', '[^\\d\\s]', '[😀高]', '[\\w-]', '[^]', '\\u0061'),
    fc.constantFrom(
      '\\p{L}',
      '\\P{L}',
      '\\p{Lu}',
      '\\p{Script=Han}',
      '\\u{1F600}',
      '\\x61',
      '[\\u{80}-\\u{10ffff}]',
    ),
    tie('node').map((inner) => `(${inner})`),
    tie('node').map((inner) => `(?:${inner})`),
  ),
  node: fc.oneof(
    { maxDepth: 3 },
    tie('atom'),
    fc
      .tuple(tie('atom'), fc.constantFrom('*', '+', '?', '{2}', '{1,3}', '{2,}', '*?', '{0,2}?'))
      .map(([atom, many]) => atom + many),
    fc.array(tie('node'), { minLength: 1, maxLength: 3 }).map((parts) => parts.map(grouped).join('')),
    fc.array(tie('node'), { minLength: 2, maxLength: 3 }).map((options) => options.join('|')),
  ),
})).node;

function grouped(part: string): string {
  return part.includes('|') ? `(?:${part})` : part;
}

describe('a regular expression', () => {
  test('accepts what JavaScript matches as a whole, over random expressions and texts', () => {
    const texts = fc.array(
      fc.array(fc.constantFrom(...ALPHABET), { maxLength: 7 }).map((chars) => chars.join('')),
      { minLength: 12, maxLength: 12 },
    );
    let matched = 0;
    fc.assert(
      fc.property(expression, texts, (pattern, samples) => {
        const theirs = new RegExp(`^(?:${pattern})$`, 'u');
        let ours: (text: string) => boolean;
        try {
          ours = accepting({ kind: 'regex', pattern });
        } catch (error) {
          // Nothing but the empty language is refused here.
          expect(error).toBeInstanceOf(ConstraintError);
          return;
        }
        for (const text of samples) {
          const expected = theirs.test(text);
          if (expected) matched++;
          expect(ours(text), `${pattern} on ${JSON.stringify(text)}`).toBe(expected);
        }
      }),
      { seed, numRuns: 300 },
    );
    expect(matched).toBeGreaterThan(50);
  });

  test('takes every code point of a class, and no other byte', () => {
    for (const name of ['L', 'Nd', 'Script=Greek', 'Any', 'White_Space']) {
      const ours = accepting({ kind: 'regex', pattern: `\\p{${name}}` });
      const theirs = new RegExp(`^\\p{${name}}$`, 'u');
      for (let c = 0; c <= 0x10ffff; c += c < 0x3000 ? 1 : 97) {
        if (c >= 0xd800 && c <= 0xdfff) continue;
        const text = String.fromCodePoint(c);
        if (ours(text) !== theirs.test(text)) throw new Error(`${name} on U+${c.toString(16)}`);
      }
    }
  });

  test.each([
    ['(?=a)b', 'character 2'],
    ['(?<!a)b', 'character 2'],
    ['(a)\\1', 'character 5'],
    ['a\\b', 'character 3'],
    ['a^b', 'character 1'],
    ['(^a)', 'character 1'],
    ['(a', 'character 2'],
    ['a)', 'character 1'],
    ['[a', 'character 2'],
    ['[z-a]', 'character 4'],
    ['*a', 'character 0'],
    ['a**', 'character 3'],
    ['a{3,2}', 'character 6'],
    ['\\p{Nonsense}', 'character 2'],
    ['\\u{110000}', 'character 2'],
    ['\\', 'character 1'],
    ['[]', 'no text fulfils it'],
    ['((a{100}){100}){100}', 'too large'],
    ['a{999999999}', 'too large'],
    ['(){999999999}', 'too large'],
    ['((((){99}){99}){99}){99}', 'too large'],
    ['.{0,20000}', 'too large'],
    ['\\p{L}{1000}', 'too large'],
    [`${'('.repeat(4000)}a${')'.repeat(4000)}`, 'groups in one another'],
  ])('%s is refused with its place', (pattern, place) => {
    expect(() => compileConstraint({ kind: 'regex', pattern })).toThrow(ConstraintError);
    expect(() => compileConstraint({ kind: 'regex', pattern })).toThrow(place);
  });

  test('a JSON text may be written with its braces as they are', () => {
    const ours = accepting({ kind: 'regex', pattern: '{"a":\\d+}' });
    expect(ours('{"a":12}')).toBe(true);
  });
});
