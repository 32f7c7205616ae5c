import { PARTING as PARTING_SIGN, SPELLED as SPELLED_DIGIT, SPELLED_DIGITS } from './characters.ts';
import { DISGUISED as DISGUISED_NUMBER, type Facts, PARTED, SPELLED_NUMBER } from './facts.ts';

/** A text as it is searched, and where its characters stand in the text that was given. */
export interface Canonical {
  text: string;
  /** Place in the given text of a unit of `text`. */
  startOf(at: number): number;
  /** Place in the given text behind the unit of `text` before `at`. */
  endOf(at: number): number;
}

/** Characters that show nothing: they part numbers and words for a program, not for a reader. */
const INVISIBLE =
  '\\u00ad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f\\u200b-\\u200f\\u202a-\\u202e\\u2060-\\u206f\\u3164\\ufe00-\\ufe0f\\ufeff\\uffa0\\u{e0000}-\\u{e007f}';
/** What takes another number of units once it is read: invisible characters, and digits of two units (mathematical ones). */
const UNEVEN = new RegExp(`[${INVISIBLE}\\u{1d7ce}-\\u{1d7ff}]`, 'u');
const ALL_UNEVEN = new RegExp(UNEVEN.source, 'gu');
/** Full-width signs, dashes, blanks, and decimal digits of other scripts; one for one. */
const WIDE =
  /[\uff01-\uff5e\u3000\u00a0\u2000-\u200a\u202f\u205f\u2010-\u2015\u2212\u00b2\u00b3\u00b9\u2070-\u2079\u2080-\u2089\u2460-\u2468\u2474-\u247c\u24ea\u2776-\u277e]|(?![0-9])\p{Nd}/gu;

/**
 * A text with full-width characters, digits of any script and dashes as their ASCII forms, and without characters that
 * nobody sees. Letters stay as they are.
 */
export function canonical(given: string): Canonical {
  const { text, uneven } = narrowed(given);
  if (!uneven) return { text, startOf: same, endOf: same };
  const starts: number[] = [];
  const parts: string[] = [];
  let at = 0;
  const keep = (end: number) => {
    for (let i = at; i < end; i++) starts.push(i);
    parts.push(given.slice(at, end));
  };
  const wide = new Set<number>();
  for (const { 0: character, index } of given.matchAll(ALL_UNEVEN)) {
    keep(index);
    at = index + character.length;
    const code = character.codePointAt(0)!;
    if (code < 0x1d7ce || code > 0x1d7ff) continue;
    wide.add(index);
    starts.push(index);
    parts.push(String((code - 0x1d7ce) % 10));
  }
  keep(given.length);
  return {
    text: narrowed(parts.join('')).text,
    startOf: (place) => starts[place] ?? given.length,
    endOf: (place) => {
      const last = starts[place - 1];
      return last === undefined ? 0 : last + (wide.has(last) ? 2 : 1);
    },
  };
}

const same = (place: number) => place;

/** What stands for each UTF-16 unit, filled in as units are met: 0 where none was; itself for most. */
const forms = new Uint16Array(65536);
for (let code = 1; code < 128; code++) forms[code] = code;
/** Invisible characters, and first halves of such and of mathematical digits. */
const FIRST_OF_UNEVEN = new RegExp(`[${INVISIBLE}\\ud835\\udb40]`, 'u');
const MAY_BE_UNEVEN = 0xffff;

function meet(code: number): number {
  const character = String.fromCharCode(code);
  const narrow = FIRST_OF_UNEVEN.test(character)
    ? MAY_BE_UNEVEN
    : character.replace(WIDE, ascii).charCodeAt(0);
  forms[code] = narrow;
  return narrow;
}

/** A text with each unit's form in its place, and whether it has characters that take another number of units. */
function narrowed(given: string): { text: string; uneven: boolean } {
  let text = '';
  let kept = 0;
  let asked = false;
  for (let at = 0; at < given.length; at++) {
    const code = given.charCodeAt(at);
    let form = forms[code]!;
    if (form === 0 && code !== 0) form = meet(code);
    if (form === code) continue;
    if (form === MAY_BE_UNEVEN) {
      if (!asked && UNEVEN.test(given)) return { text: given, uneven: true };
      asked = true;
      continue;
    }
    text += given.slice(kept, at) + String.fromCharCode(form);
    kept = at + 1;
  }
  return { text: kept === 0 ? given : text + given.slice(kept), uneven: false };
}

function ascii(character: string): string {
  const code = character.charCodeAt(0);
  if (character.length > 1) return character;
  if (code >= 0xff01 && code <= 0xff5e) return String.fromCharCode(code - 0xfee0);
  if (code === 0x3000 || code === 0xa0 || (code >= 0x2000 && code <= 0x200a)) return ' ';
  if (code === 0x202f || code === 0x205f) return ' ';
  if ((code >= 0x2010 && code <= 0x2015) || code === 0x2212) return '-';
  if (code >= 0x2460 && code <= 0x2468) return String(code - 0x245f);
  if (code >= 0x2474 && code <= 0x247c) return String(code - 0x2473);
  if (code >= 0x2776 && code <= 0x277e) return String(code - 0x2775);
  if (code === 0x24ea) return '0';
  const form = character.normalize('NFKC');
  if (/^[0-9]$/.test(form)) return form;
  return String(decimal(code));
}

/** The value of a decimal digit of any script: they stand in tens, and each ten begins with its zero. */
function decimal(code: number): number {
  let value = 0;
  while (value < 9 && /\p{Nd}/u.test(String.fromCharCode(code - value - 1))) value++;
  return value;
}

const LOOK_ALIKES: Readonly<Record<string, string>> = {
  O: '0',
  o: '0',
  О: '0',
  о: '0',
  Ο: '0',
  ο: '0',
  l: '1',
  I: '1',
  '|': '1',
  і: '1',
  І: '1',
  Х: 'X',
  х: 'X',
  Χ: 'X',
  '×': 'X',
};
const BESIDE_DIGIT = /\d[OoОоΟοlI|іІХхΧ×]|[OoОоΟοlI|іІ]\d/;
/** A number's length of digits and what looks like one. */
const DISGUISED =
  /(?<![A-Za-z0-9_])[0-9OoОоΟοlI|іІ][0-9OoОоΟοlI|іІ .()-]{8,28}[0-9OoОоΟοlI|іІХхΧ×](?![A-Za-z0-9_])/g;
const SPELLED =
  /[〇零一二三四五六七八九壹贰叁肆伍陆柒捌玖幺](?:[- .]?[〇零一二三四五六七八九壹贰叁肆伍陆柒捌玖幺0-9]){6,30}/g;
const SPELLED_VALUES = '00123456789123456789' + '1';
/** Separators that stand between digits only to part them. */
const PARTING = /(?<=\d)[·•・‧_](?=[\dXx])/g;

/** A canonical text as numbers are looked for: letters that pass for digits, spelled digits and odd separators replaced, one for one. */
export function withPlainNumbers(text: string, { has, hints }: Facts): string {
  let plain = text;
  if (hints & DISGUISED_NUMBER) {
    plain = plain.replace(DISGUISED, (run) => {
      const digits = run.replace(/\D/g, '').length;
      if (digits < 6 || !BESIDE_DIGIT.test(run)) return run;
      return run.replace(/[OoОоΟοlI|іІХхΧ×]/g, (character) => LOOK_ALIKES[character]!);
    });
  }
  const other = plain !== text;
  if (hints & SPELLED_NUMBER || (other && has & SPELLED_DIGIT)) {
    plain = plain.replace(SPELLED, (run) =>
      run.replace(/[^0-9 .-]/g, (character) => SPELLED_VALUES[SPELLED_DIGITS.indexOf(character)]!),
    );
  }
  return hints & PARTED || (plain !== text && has & PARTING_SIGN) ? plain.replace(PARTING, '-') : plain;
}
