import { narrowed } from './characters.ts';
import { findEmails } from './email.ts';
import { findIpAddresses } from './ip-address.ts';
import { findNumbers } from './numbers.ts';
import { findPassports } from './passport.ts';

/** Kinds of personal data; the names are stable, reports and policies keep them. */
export const PERSONAL_DATA_TYPES = ['email', 'ip_address', 'id_number', 'card', 'phone', 'passport'] as const;
export type PersonalDataType = (typeof PERSONAL_DATA_TYPES)[number];

/** What is looked for where nothing is said: all but passports, whose numbers have no check digit. */
export const DEFAULT_TYPES: readonly PersonalDataType[] = PERSONAL_DATA_TYPES.filter(
  (type) => type !== 'passport',
);

/** A part of a text, in UTF-16 units. */
export interface Span {
  start: number;
  end: number;
}

export interface PersonalData extends Span {
  type: PersonalDataType;
}

export interface MaskOptions {
  /** What is looked for. Default DEFAULT_TYPES. */
  types?: readonly PersonalDataType[];
  /** What stands in its place; `[ID_NUMBER]` and the like by default. */
  replacement?: (type: PersonalDataType) => string;
}

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
  types: readonly PersonalDataType[] = DEFAULT_TYPES,
): PersonalData[] {
  const wanted = new Set(types);
  const narrow = narrowed(text);
  const found: PersonalData[] = [];
  const add = (type: PersonalDataType, spans: Iterable<Span>) => {
    for (const { start, end } of spans) found.push({ type, start, end });
  };
  if (wanted.has('email')) add('email', findEmails(narrow));
  const addresses = wanted.has('ip_address') ? [...findIpAddresses(narrow)] : [];
  add('ip_address', addresses);
  if (wanted.has('passport')) add('passport', findPassports(narrow));
  if (wanted.has('id_number') || wanted.has('card') || wanted.has('phone')) {
    // An address that stands behind a number is no part of it, even where the two together pass a check digit.
    const others = blanked(narrow, addresses);
    for (const number of findNumbers(others)) if (wanted.has(number.type)) found.push(number);
  }
  return withoutOverlaps(found);
}

/** Whether a text has personal data of any type, those without a check digit too: for what must not leave at all. */
export function holdsPersonalData(text: string): boolean {
  return findPersonalData(text, PERSONAL_DATA_TYPES).length > 0;
}

/** Blanks in the place of spans, in order. */
function blanked(text: string, spans: readonly Span[]): string {
  let result = '';
  let end = 0;
  for (const span of [...spans].sort((a, b) => a.start - b.start)) {
    result += text.slice(end, span.start) + ' '.repeat(span.end - span.start);
    end = span.end;
  }
  return result + text.slice(end);
}

/** Of what overlaps, what starts first stays; of those that start together, the longest. */
function withoutOverlaps(found: PersonalData[]): PersonalData[] {
  found.sort((a, b) => a.start - b.start || b.end - a.end);
  let end = 0;
  return found.filter((one) => {
    if (one.start < end) return false;
    end = one.end;
    return true;
  });
}
