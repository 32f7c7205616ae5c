import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Decode, Detokenizer } from './detokenizer.ts';

/** A token is any run of bytes, as in byte-level BPE. */
function byteDecoder(table: Uint8Array[]): Decode {
  return (tokens) =>
    new TextDecoder('utf-8', { ignoreBOM: true }).decode(Buffer.concat(tokens.map((t) => table[t]!)));
}

/** Strips the blank before the first word, as sentencepiece decoders do. */
const metaspace: Decode = (tokens) =>
  tokens
    .map((t) => ['▁高', '血压', '▁患者', '▁', 'a'][t])
    .join('')
    .replaceAll('▁', ' ')
    .replace(/^ /, '');

describe('Detokenizer', () => {
  test('a character cut over tokens comes out once it is whole', () => {
    const bytes = new TextEncoder().encode('高😀');
    const table = Array.from(bytes, (b) => Uint8Array.of(b));
    const detokenizer = new Detokenizer(byteDecoder(table));
    expect(table.map((_, i) => detokenizer.push(i))).toEqual(['', '', '高', '', '', '', '😀']);
    expect(detokenizer.flush()).toBe('');
  });

  test('an unfinished character shows as U+FFFD at the end only', () => {
    const detokenizer = new Detokenizer(byteDecoder([Uint8Array.of(0x61, 0xe9), Uint8Array.of(0xab)]));
    expect(detokenizer.push(0)).toBe('a');
    expect(detokenizer.push(1)).toBe('');
    expect(detokenizer.flush()).toBe('\ufffd');
  });

  test('any text cut into any tokens comes out whole, never with a broken character', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'grapheme', maxLength: 60 }),
        fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 40 }),
        (text, cuts) => {
          const bytes = new TextEncoder().encode(text);
          const table: Uint8Array[] = [];
          for (let at = 0, i = 0; at < bytes.length; i++) {
            const size = cuts[i % cuts.length]!;
            table.push(bytes.subarray(at, at + size));
            at += size;
          }
          const detokenizer = new Detokenizer(byteDecoder(table));
          const pieces = table.map((_, i) => detokenizer.push(i));
          pieces.push(detokenizer.flush());
          expect(pieces.join('')).toBe(new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes));
          if (!text.includes('\ufffd'))
            for (const piece of pieces) expect(piece.isWellFormed() && !piece.includes('\ufffd')).toBe(true);
        },
      ),
    );
  });

  test('bytes that never become characters do not hold the stream up for ever', () => {
    const detokenizer = new Detokenizer(byteDecoder([Uint8Array.of(0xff)]));
    const pieces = Array.from({ length: 200 }, () => detokenizer.push(0));
    pieces.push(detokenizer.flush());
    expect(pieces.join('')).toBe('\ufffd'.repeat(200));
    expect(pieces.slice(0, 100).join('').length).toBeGreaterThan(90);
  });

  test('blanks between words survive a decoder that strips the first, over any number of windows', () => {
    const detokenizer = new Detokenizer(metaspace);
    const tokens = Array.from({ length: 40 }, (_, i) => i % 3);
    expect(tokens.map((t) => detokenizer.push(t)).join('')).toBe(metaspace(tokens));
    expect(new Detokenizer(metaspace, [1]).push(2)).toBe(' 患者');
  });
});
