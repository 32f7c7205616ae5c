import { splitWords, strip } from './text.ts';

/** Names of sacrebleu's tokenizers that are here. */
export const TOKENIZERS = ['zh', '13a', 'char', 'none'] as const;

/** A tokenizer's name, as it stands in a sacrebleu signature. */
export type TokenizerName = (typeof TOKENIZERS)[number];

/**
 * Tokenises a line as sacrebleu 2.6 does.
 *
 * @returns tokens joined by blanks
 */
export function tokenize(name: TokenizerName, line: string): string {
  switch (name) {
    case 'zh':
      return tokenizeZh(line);
    case '13a':
      return tokenize13a(line);
    case 'char':
      return [...line].join(' ');
    case 'none':
      return line;
  }
}

// Code points that the zh tokenizer sets apart. sacrebleu writes four bounds as '\u20000', '\u2a6d6', '\u2f800' and
// '\u2fa1d', which Python reads as a character and a digit; compared as strings with one character they mean
// U+2001..U+2A6D (so ℃, quotes, dashes and arrows count as Chinese) and U+2F81..U+2FA1. Kept, since scores must agree.
const CHINESE: readonly (readonly [number, number])[] = [
  [0x3400, 0x4db5],
  [0x4e00, 0x9fa5],
  [0x9fa6, 0x9fbb],
  [0xf900, 0xfa2d],
  [0xfa30, 0xfa6a],
  [0xfa70, 0xfad9],
  [0x2001, 0x2a6d],
  [0x2f81, 0x2fa1],
  [0xff00, 0xffef],
  [0x2e80, 0x2eff],
  [0x3000, 0x303f],
  [0x31c0, 0x31ef],
  [0x2f00, 0x2fdf],
  [0x2ff0, 0x2fff],
  [0x3100, 0x312f],
  [0x31a0, 0x31bf],
  [0xfe10, 0xfe1f],
  [0xfe30, 0xfe4f],
  [0x2600, 0x26ff],
  [0x2700, 0x27bf],
  [0x3200, 0x32ff],
  [0x3300, 0x33ff],
];

function isChinese(codePoint: number): boolean {
  return CHINESE.some(([first, last]) => first <= codePoint && codePoint <= last);
}

function tokenizeZh(line: string): string {
  let spaced = '';
  for (const char of strip(line)) {
    spaced += isChinese(char.codePointAt(0) ?? 0) ? ` ${char} ` : char;
  }
  return tokenizeMteval(spaced);
}

/** The language-independent part of mteval-v13a.pl, then its tokens. */
function tokenize13a(line: string): string {
  const plain = line
    .replaceAll('<skipped>', '')
    .replaceAll('-\n', '')
    .replaceAll('\n', ' ')
    .replaceAll('&quot;', '"')
    .replaceAll('&amp;', '&')
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>');
  return tokenizeMteval(` ${plain} `);
}

/** Western punctuation as mteval-v13a.pl sets it apart: a mark between digits stays in its number. */
function tokenizeMteval(line: string): string {
  const spaced = line
    .replace(/([{-~[-` -&(-+:-@/])/gu, ' $1 ')
    .replace(/([^0-9])([.,])/gu, '$1 $2 ')
    .replace(/([.,])([^0-9])/gu, ' $1 $2')
    .replace(/([0-9])(-)/gu, '$1 $2 ');
  return splitWords(spaced).join(' ');
}
