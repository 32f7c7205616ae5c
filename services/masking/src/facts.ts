import {
  CAPITAL,
  COLON,
  DIGIT,
  DOT,
  IN_WORD,
  KINDS,
  LATIN,
  LIKE_DIGIT,
  LIKE_X,
  PARTING,
  PARTS_SPELLED,
  PLATE_SIGN,
  SPELLED,
} from './characters.ts';

/** What one pass over a text tells of it: finders ask it whether a look is worth their while, and where to begin. */
export interface Facts {
  /** Where the pass began. What ends before is not looked for. */
  from: number;
  /** Kinds of all characters. */
  has: number;
  /** Pairs of characters that stand beside one another. */
  hints: number;
  digits: number;
  /** Starts and ends of runs of digits, by turns. */
  runs: number[];
  longestRun: number;
  /** Dots between two digits. */
  dots: number;
  /** Capitals that a word begins with. */
  capitals: number[];
}

/** A letter that looks like a digit beside one. */
export const DISGUISED = 1 << 0;
/** A Chinese digit before another digit. */
export const SPELLED_NUMBER = 1 << 1;
/** A sign behind a digit that parts numbers. */
export const PARTED = 1 << 2;
/** A Latin letter before a digit, or one separator between. */
export const CODE = 1 << 3;
export const PLATE = 1 << 4;
/** Two colons that no more than a group of four parts. */
export const NEAR_COLONS = 1 << 5;
/** A Latin letter and seven digits or more. */
export const LONG_CODE = 1 << 6;
/** A number behind a blank. */
export const BEHIND_BLANK = 1 << 7;

/** Digits behind a letter in the shortest passport number. */
const PASSPORT_DIGITS = 7;
/** Between the colons of an address of version 6. */
const MOST_BETWEEN_COLONS = 4;

export function factsOf(text: string, from: number): Facts {
  const runs: number[] = [];
  const capitals: number[] = [];
  let [has, hints, digits, longestRun, dots] = [0, 0, 0, 0, 0];
  let colon = -MOST_BETWEEN_COLONS - 2;
  let before = from > 1 ? KINDS[text.charCodeAt(from - 2)]! : 0;
  let last = from > 0 ? KINDS[text.charCodeAt(from - 1)]! : 0;
  for (let at = from; at < text.length; at++) {
    const kind = KINDS[text.charCodeAt(at)]!;
    has |= kind;
    if (kind & DIGIT) {
      const start = at;
      if (last & LATIN) hints |= CODE;
      else if (last & PARTS_SPELLED) {
        if (before & LATIN) hints |= CODE;
        if (last & DOT && before & DIGIT) dots++;
        if (text.charCodeAt(at - 1) === 0x20) hints |= BEHIND_BLANK;
      }
      if (last & LIKE_DIGIT) hints |= DISGUISED;
      if (last & SPELLED || (last & PARTS_SPELLED && before & SPELLED)) hints |= SPELLED_NUMBER;
      const letter = last & LATIN;
      do at++;
      while (at < text.length && KINDS[text.charCodeAt(at)]! & DIGIT);
      const length = at - start;
      runs.push(start, at);
      digits += length;
      if (length > longestRun) longestRun = length;
      if (letter && length >= PASSPORT_DIGITS) hints |= LONG_CODE;
      before = length > 1 ? kind : last;
      last = kind;
      at--;
      continue;
    }
    if (kind & CAPITAL && !(last & IN_WORD)) capitals.push(at);
    if (last & (DIGIT | SPELLED | PLATE_SIGN | PARTS_SPELLED)) {
      if (last & DIGIT) {
        if (kind & (LIKE_DIGIT | LIKE_X)) hints |= DISGUISED;
        if (kind & PARTING) hints |= PARTED;
      }
      if (kind & SPELLED && (last & SPELLED || (last & PARTS_SPELLED && before & SPELLED)))
        hints |= SPELLED_NUMBER;
      if (kind & LATIN && last & PLATE_SIGN) hints |= PLATE;
    }
    if (kind & COLON) {
      if (at - colon <= MOST_BETWEEN_COLONS + 1) hints |= NEAR_COLONS;
      colon = at;
    }
    before = last;
    last = kind;
  }
  return { from, has, hints, digits, runs, longestRun, dots, capitals };
}
