import { hash } from 'node:crypto';

/** A question as another one is compared with it: digests and a vector, of which nobody reads what was asked. */
export interface Question {
  /** Of what must be the same. */
  readonly guard: string;
  /** Of the words that carry meaning, as they follow one another. */
  readonly order: string;
  /** Of their letters in any order. */
  readonly letters: string;
  /** Of length 1. */
  readonly vector: Float32Array;
}

const NUMBERS = /[+-]?\p{N}+(?:[.,:/-]\p{N}+)*%?/gu;
const CHINESE_NUMBERS = /[零〇一二两三四五六七八九十百千万亿半]+/g;
/** What may be a name of a thing: in capitals, or with a digit or a sign inside. */
const IDENTIFIERS = /(?<![A-Za-z0-9_])[A-Za-z](?:[\w./@:#-]*\w)?/g;
const isIdentifier = (word: string) => /[\d_@#:/.]|^[A-Z]{2,}$/.test(word);
const QUOTES = /"[^"]*"|“[^”]*”|‘[^’]*’|「[^」]*」|『[^』]*』|《[^》]*》|`[^`]*`/g;
const NEGATIONS_CHINESE = /[不没無无非未勿别莫否禁忌免除]/g;
const CONTRASTS_CHINESE =
  /[高低大小多少上下左右前后先后男女内外增减升降早晚新旧快慢冷热轻重长短胖瘦强弱进出开关买卖借还东西南北老幼急慢]/g;
const WORDS_THAT_TURN = new Set(
  `not no never none nothing nobody nor neither without cannot can't don't doesn't didn't won't isn't aren't wasn't weren't
  shouldn't wouldn't couldn't non except unless lack avoid stop
  high low higher lower highest lowest more less most least big small bigger smaller large before after above below over
  under left right up down in out on off start end begin finish first last early late increase decrease rise fall gain
  lose buy sell open close enable disable allow deny add remove male female man woman men women boy girl hot cold old new
  young adult child fast slow long short light heavy strong weak north south east west max min maximum minimum minor major
  all any some every only both either from to into than vs versus input output positive negative true false yes`
    .trim()
    .split(/\s+/),
);
/** Words that a question may have or not: greetings, politeness, articles, particles. Whoever is meant is none. */
const LIGHT = new Set(
  `请 请问 麻烦 一下 吗 呢 吧 啊 呀 的 谢谢 你好 您好 please pls kindly a an the thanks hi hello`.split(' '),
);

const segmenter = new Intl.Segmenter('zh', { granularity: 'word' });

/** Words of a question, in their order: those that carry meaning, and those that it may have or not. */
export function wordsOf(text: string): { meaning: string[]; light: string[] } {
  const words: { meaning: string[]; light: string[] } = { meaning: [], light: [] };
  for (const { segment, isWordLike } of segmenter.segment(text.normalize('NFKC').toLowerCase())) {
    if (isWordLike) words[LIGHT.has(segment) ? 'light' : 'meaning'].push(segment);
  }
  return words;
}

const DIGEST_LENGTH = 22;
const digest = (parts: readonly unknown[]) =>
  hash('sha256', JSON.stringify(parts), 'base64url').slice(0, DIGEST_LENGTH);
const sorted = (list: readonly string[]) => [...list].sort();

/**
 * What two questions must have in common before their likeness counts: numbers, names of things and pseudonyms, quotes,
 * words of contrast, in their order, and negations. Vectors of questions that differ in nothing else are near, and their
 * answers are not.
 */
function guardOf(text: string): unknown[] {
  const plain = text.normalize('NFKC');
  const words = plain.toLowerCase().match(/[\p{Script=Latin}']+/gu) ?? [];
  return [
    plain.match(NUMBERS) ?? [],
    plain.match(CHINESE_NUMBERS) ?? [],
    (plain.match(IDENTIFIERS) ?? []).filter(isIdentifier),
    plain.match(QUOTES) ?? [],
    sorted(plain.match(NEGATIONS_CHINESE) ?? []),
    plain.match(CONTRASTS_CHINESE) ?? [],
    words.filter((word) => WORDS_THAT_TURN.has(word)),
  ];
}

/** @param vector of length 1 */
export function question(text: string, vector: Float32Array): Question {
  // Where Chinese words end depends on what stands beside them; their letters do not.
  const letters = [...wordsOf(text).meaning.join('')];
  return { guard: digest(guardOf(text)), order: digest(letters), letters: digest(sorted(letters)), vector };
}

/** Whether the same words stand in another order: who does what to whom may have changed. */
const isReordered = (a: Question, b: Question) => a.letters === b.letters && a.order !== b.order;

/**
 * How alike two questions are, from 0 to 1; 0 where they must not be taken for each other.
 * @param byMeaning whether vectors tell synonyms, so that other words may mean the same
 */
export function likeness(a: Question, b: Question, byMeaning: boolean): number {
  if (a.guard !== b.guard || (byMeaning ? isReordered(a, b) : a.order !== b.order)) return 0;
  return Math.max(0, cosine(a.vector, b.vector));
}

/** As bytes: three digests, then the vector as float32, little-endian. */
export function questionBytes({ guard, order, letters, vector }: Question): Buffer {
  const bytes = Buffer.alloc(3 * DIGEST_LENGTH + 4 * vector.length);
  bytes.write(guard + order + letters, 'latin1');
  vector.forEach((value, i) => void bytes.writeFloatLE(value, 3 * DIGEST_LENGTH + 4 * i));
  return bytes;
}

export function readQuestion(bytes: Buffer): Question {
  const part = (i: number) => bytes.toString('latin1', i * DIGEST_LENGTH, (i + 1) * DIGEST_LENGTH);
  const from = 3 * DIGEST_LENGTH;
  const vector = Float32Array.from({ length: (bytes.length - from) / 4 }, (_, i) =>
    bytes.readFloatLE(from + 4 * i),
  );
  return { guard: part(0), order: part(1), letters: part(2), vector };
}

/** Cosine of the angle between two vectors of length 1. */
function cosine(a: Float32Array, b: Float32Array): number {
  if (a.length !== b.length) return 0;
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  // What float32 takes from two equal vectors is no difference.
  return Math.min(1, Math.round(sum * 1e6) / 1e6);
}
