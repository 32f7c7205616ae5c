import { isCardNumber } from './card-number.ts';
import { findEmails } from './email.ts';
import { isIdNumber } from './id-number.ts';
import { isPhoneNumber } from './phone-number.ts';

/** Kinds of personal data; the names are stable, reports and policies keep them. */
export const PERSONAL_DATA_TYPES = ['id_number', 'phone', 'bank_card', 'email'] as const;
export type PersonalDataType = (typeof PERSONAL_DATA_TYPES)[number];

/** A part of a text, in UTF-16 units. */
export interface Span {
  start: number;
  end: number;
}

export interface PersonalData extends Span {
  type: PersonalDataType;
}

export interface MaskOptions {
  /** What is looked for; all types by default. */
  types?: readonly PersonalDataType[];
  /** What stands in its place; `[ID_NUMBER]` and the like by default. */
  replacement?: (type: PersonalDataType) => string;
}

/** Digits, separated by single blanks, hyphens, dots or brackets. */
const NUMBER = /\+?\(?\d(?:\d|[ .()-]{1,2}(?=\d))*[Xx]?/g;
const GROUP = /\d+[Xx]?/g;
/** More groups than any number is written in. */
const MAX_GROUPS = 6;
const MAX_DIGITS = 24;

/** The text with its personal data replaced, and what was replaced where (in the given text), in order. */
export function mask(text: string, options: MaskOptions = {}): { text: string; found: PersonalData[] } {
  const { replacement = (type) => `[${type.toUpperCase()}]` } = options;
  const found = findPersonalData(text, options.types);
  let masked = '';
  let end = 0;
  for (const one of found) {
    masked += text.slice(end, one.start) + replacement(one.type);
    end = one.end;
  }
  return { text: masked + text.slice(end), found };
}

/** Personal data in a text, in order and without overlaps. Takes time in proportion to the text's length. */
export function findPersonalData(
  text: string,
  types: readonly PersonalDataType[] = PERSONAL_DATA_TYPES,
): PersonalData[] {
  const narrow = narrowed(text);
  const wanted = new Set(types);
  const found: PersonalData[] = [];
  if (wanted.has('email')) {
    for (const span of findEmails(narrow)) {
      // Of `a@b@c.de` the address that was found first is kept.
      if (span.start >= (found.at(-1)?.end ?? 0)) found.push({ type: 'email', ...span });
    }
  }
  const emails = [...found];
  let next = 0;
  for (const match of narrow.matchAll(NUMBER)) {
    for (const number of numbersIn(narrow, match[0], match.index)) {
      while (next < emails.length && emails[next]!.end <= number.start) next++;
      const inEmail = next < emails.length && emails[next]!.start < number.end;
      if (wanted.has(number.type) && !inEmail) found.push(number);
    }
  }
  return found.sort((a, b) => a.start - b.start);
}

/** Full-width letters, digits and signs as narrow ones, one for one. */
function narrowed(text: string): string {
  return text.replace(/[\uff01-\uff5e\u3000\u2010-\u2015\u2212]/g, (character) => {
    const code = character.charCodeAt(0);
    if (code === 0x3000) return ' ';
    return code >= 0xff01 ? String.fromCharCode(code - 0xfee0) : '-';
  });
}

/** Numbers in a run of groups: from each group on the longest join that is one. */
function* numbersIn(text: string, run: string, offset: number): Generator<PersonalData> {
  const groups = [...run.matchAll(GROUP)].map((match) => ({
    digits: match[0],
    start: offset + match.index,
    end: offset + match.index + match[0].length,
  }));
  for (let first = 0; first < groups.length; first++) {
    for (let count = Math.min(MAX_GROUPS, groups.length - first); count > 0; count--) {
      const joined = groups.slice(first, first + count);
      const type = typeOf(text, joined);
      if (!type) continue;
      const end = joined.at(-1)!.end;
      let { start } = joined[0]!;
      // The bracket that is closed inside, and the plus sign, belong to the number.
      if (text[start - 1] === '(' && text.slice(start, end).includes(')')) start--;
      if (text[start - 1] === '+') start--;
      yield { type, start, end };
      first += count - 1;
      break;
    }
  }
}

function isPlus(text: string, start: number): boolean {
  return text[start - 1] === '+' || (text[start - 1] === '(' && text[start - 2] === '+');
}

function typeOf(
  text: string,
  groups: readonly { digits: string; start: number; end: number }[],
): PersonalDataType | undefined {
  const digits = groups.map((group) => group.digits).join('');
  if (digits.length < 10 || digits.length > MAX_DIGITS) return undefined;
  const [before, after] = [text[groups[0]!.start - 1] ?? '', text[groups.at(-1)!.end] ?? ''];
  // A part of a name, of a hash, of a decimal fraction or of an amount with decimals is no number of a person.
  if (/[A-Za-z0-9_]/.test(before) || /[A-Za-z0-9_]/.test(after)) return undefined;
  if (before === '.' && /\d/.test(text[groups[0]!.start - 2] ?? '')) return undefined;
  const lengths = groups.map((group) => group.digits.length);
  const dotted = text.slice(groups[0]!.start, groups.at(-1)!.end).includes('.');
  if (!dotted) {
    const idGroups = ['15', '18', '6-8-4', '3-3-4-4-4', '6-4-4-4'].includes(lengths.join('-'));
    if (idGroups && isIdNumber(digits)) return 'id_number';
    const cardGroups =
      lengths.length === 1 || (lengths.slice(0, -1).every((n) => n >= 4) && lengths.at(-1)! >= 1);
    if (cardGroups && isCardNumber(digits)) return 'bank_card';
  }
  if (/[Xx]$/.test(digits)) return undefined;
  const phone = { plus: isPlus(text, groups[0]!.start), groups: groups.map((group) => group.digits) };
  return isPhoneNumber(phone) ? 'phone' : undefined;
}
