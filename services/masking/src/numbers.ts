import { isCardNumber } from './card-number.ts';
import { characterSet, isWordAt } from './characters.ts';
import type { Facts } from './facts.ts';
import { isIdNumber } from './id-number.ts';
import type { Span } from './mask.ts';
import { isNationalNumber, isPhoneNumber } from './phone-number.ts';

/** What a number can be of a person. */
export type NumberType = 'id_number' | 'card' | 'phone';

interface Group extends Span {
  digits: string;
}

/** More groups than any number is written in, but for one that is written digit by digit. */
const MAX_GROUPS = 6;
const [MIN_DIGITS, MAX_DIGITS] = [10, 24];
const MIN_CARD = 13;
/** Shortest number that is taken where the text calls it a phone's. */
const MIN_NAMED = 7;
const OLD_ID_GROUPS = new Set(['15', '6-6-3']);
/** How far before a number its name is looked for. */
const CUE_REACH = 40;
const PHONE_CUE =
  /(?:电话|手机|联系方式|致电|拨打|座机|传真|热线|\b(?:tel|tele|telephone|phone|mobile|cell|cellphone|call|called|calling|dial|fax|whatsapp|reach)\b)[^\d\n。;；]{0,24}$/i;
const CARD_CUE =
  /(?:卡|账号|账户|\b(?:card|visa|mastercard|amex|maestro|credit|debit|account)\b)[^\d\n。;；]{0,24}$/i;
const EXTENSION = /(?:\s{0,2}(?:x|ext\.?|extension|转|分机)\s{0,2}\d{1,6})(?!\d)/iy;

/** Between the groups of one number: one or two of these. */
const isSeparator = characterSet(' .()-');
const MOST_SEPARATORS = 2;
const [PLUS, OPEN, DOT, SMALL_X, CAPITAL_X] = [0x2b, 0x28, 0x2e, 0x78, 0x58];

/**
 * Identity numbers, bank cards and phones in runs of digits: from each group on the longest join that is one.
 *
 * @param text canonical, with plain numbers
 */
export function findNumbers(text: string, { digits, runs }: Facts): (Span & { type: NumberType })[] {
  const spans: (Span & { type: NumberType })[] = [];
  if (digits < MIN_NAMED) return spans;
  for (let at = 0; at < runs.length; ) {
    const groups = groupsFrom(text, runs, at);
    at += 2 * groups.length;
    if (writtenLength(text, groups) < MIN_NAMED) continue;
    const spelled = digitByDigit(text, groups);
    if (spelled) {
      spans.push(spelled);
      continue;
    }
    for (let first = 0; first < groups.length; first++) {
      const found = longest(groups, first, text, typeOf) ?? longest(groups, first, text, namedPhone);
      if (!found) continue;
      spans.push({ type: found.type, ...reach(text, found.joined, found.type) });
      first += found.joined.length - 1;
    }
  }
  return spans;
}

/** Digits that one or two blanks, hyphens, dots or brackets part, with an x at their end. */
function groupsFrom(text: string, runs: readonly number[], from: number): Group[] {
  const groups: Group[] = [];
  for (let at = from; at < runs.length; at += 2) {
    const start = runs[at]!;
    const end = runs[at + 1]!;
    const last = text.charCodeAt(end);
    const x = last === SMALL_X || last === CAPITAL_X ? 1 : 0;
    groups.push({ start, end: end + x, digits: text.slice(start, end + x) });
    if (x > 0 || at + 2 === runs.length || !areJoined(text, end, runs[at + 2]!)) break;
  }
  return groups;
}

function areJoined(text: string, end: number, start: number): boolean {
  if (start - end > MOST_SEPARATORS) return false;
  for (let at = end; at < start; at++) if (!isSeparator(text.charCodeAt(at))) return false;
  return true;
}

/** With the bracket and the plus sign before. */
function writtenLength(text: string, groups: readonly Group[]): number {
  let { start } = groups[0]!;
  if (text.charCodeAt(start - 1) === OPEN) start--;
  if (text.charCodeAt(start - 1) === PLUS) start--;
  return groups[groups.length - 1]!.end - start;
}

interface Found {
  type: NumberType;
  joined: readonly Group[];
}

/** The most groups from one on that together are a number. What is a part of something else, or too long, is none. */
function longest(
  groups: readonly Group[],
  first: number,
  text: string,
  type: (text: string, joined: readonly Group[], groups: readonly Group[]) => NumberType | undefined,
): Found | undefined {
  if (!beginsAlone(text, groups[first]!.start)) return undefined;
  for (let count = Math.min(MAX_GROUPS, groups.length - first); count > 0; count--) {
    let length = 0;
    for (let i = first; i < first + count; i++) length += groups[i]!.digits.length;
    if (length < MIN_NAMED) return undefined;
    if (length > MAX_DIGITS || !endsAlone(text, groups[first + count - 1]!.end)) continue;
    const joined = count === groups.length ? groups : groups.slice(first, first + count);
    const found = type(text, joined, groups);
    if (found) return { type: found, joined };
  }
  return undefined;
}

/** Asked last: what a text calls a phone's may be of any form, and would take the beginning of the next number with it. */
function namedPhone(
  text: string,
  joined: readonly Group[],
  groups: readonly Group[],
): NumberType | undefined {
  return isNamedPhone(text, joined, joined.length === groups.length) ? 'phone' : undefined;
}

/** A number that is written in groups of one and two digits, from the run's first to its last. */
function digitByDigit(text: string, groups: readonly Group[]): (Span & { type: NumberType }) | undefined {
  if (groups.length <= MAX_GROUPS || groups.length > MAX_DIGITS) return undefined;
  if (groups.some(({ digits }) => digits.length > 3)) return undefined;
  const digits = groups.map((group) => group.digits).join('');
  const span = { start: groups[0]!.start, end: groups.at(-1)!.end };
  if (isWordAt(text, span.start - 1) || isWordAt(text, span.end)) return undefined;
  if (digits.length === 18 && isIdNumber(digits)) return { type: 'id_number', ...span };
  if (isCardNumber(digits)) return { type: 'card', ...span };
  const single = groups.every((group) => group.digits.length === 1);
  return single && isPhoneNumber({ plus: false, groups: [digits] }) ? { type: 'phone', ...span } : undefined;
}

/** The bracket that is closed inside, the plus sign and an extension belong to the number. */
function reach(text: string, groups: readonly Group[], type: NumberType): Span {
  let { start } = groups[0]!;
  let { end } = groups.at(-1)!;
  if (text[start - 1] === '(' && text.slice(start, end).includes(')')) start--;
  if (text[start - 1] === '+') start--;
  if (type === 'phone') {
    EXTENSION.lastIndex = end;
    if (EXTENSION.test(text)) end = EXTENSION.lastIndex;
  }
  return { start, end };
}

function typeOf(text: string, groups: readonly Group[]): NumberType | undefined {
  const digits = joinedDigits(groups);
  if (digits.length < MIN_DIGITS) return undefined;
  const start = groups[0]!.start;
  const end = groups[groups.length - 1]!.end;
  if (digits.length >= MIN_CARD && !hasDot(text, start, end)) {
    if (digits.length === 18 && isIdNumber(digits)) return 'id_number';
    // The older identity number has no check digit: the text's own word for a card goes first.
    const old = digits.length === 15 && isOldId(groups, digits);
    const may = isCardNumber(digits, true) && startsWithLong(groups);
    const card = (old || may) && CARD_CUE.test(wordsBefore(text, start));
    if (!card && old) return 'id_number';
    if (may && (card || isCardNumber(digits))) return 'card';
  }
  const last = text.charCodeAt(end - 1);
  if (last === SMALL_X || last === CAPITAL_X) return undefined;
  const sign = text.charCodeAt(start - 1);
  const plus = sign === PLUS || (sign === OPEN && text.charCodeAt(start - 2) === PLUS);
  return isPhoneNumber({ plus, groups: groups.map((group) => group.digits) }) ? 'phone' : undefined;
}

const isOldId = (groups: readonly Group[], digits: string) =>
  OLD_ID_GROUPS.has(groups.map((group) => group.digits.length).join('-')) && isIdNumber(digits);

function joinedDigits(groups: readonly Group[]): string {
  let digits = groups[0]!.digits;
  for (let i = 1; i < groups.length; i++) digits += groups[i]!.digits;
  return digits;
}

/** Whether all groups but the last have four digits at least, as those of cards. */
function startsWithLong(groups: readonly Group[]): boolean {
  for (let i = 0; i < groups.length - 1; i++) if (groups[i]!.digits.length < 4) return false;
  return true;
}

function hasDot(text: string, start: number, end: number): boolean {
  for (let at = start; at < end; at++) if (text.charCodeAt(at) === DOT) return true;
  return false;
}

/** A part of a name, of a hash, of a decimal fraction or of an amount with decimals is no number of a person. */
function beginsAlone(text: string, start: number): boolean {
  if (isWordAt(text, start - 1)) return false;
  return text.charCodeAt(start - 1) !== DOT || !isDigitAt(text, start - 2);
}

function endsAlone(text: string, end: number): boolean {
  return !isWordAt(text, end) || extended(text, end);
}

function isDigitAt(text: string, at: number): boolean {
  const code = text.charCodeAt(at);
  return code >= 0x30 && code <= 0x39;
}

function wordsBefore(text: string, start: number): string {
  return text.slice(Math.max(0, start - CUE_REACH), start);
}

function extended(text: string, end: number): boolean {
  EXTENSION.lastIndex = end;
  return EXTENSION.test(text);
}

/**
 * A number of a country that is not named: by the plan of a likely one, or by the words before it.
 *
 * @param whole true where the groups are all of their run
 */
function isNamedPhone(text: string, groups: readonly Group[], whole: boolean): boolean {
  const before = wordsBefore(text, groups[0]!.start);
  const written = text.slice(groups[0]!.start, groups.at(-1)!.end);
  if (/[Xx]$/.test(written)) return false;
  const named = PHONE_CUE.test(before);
  const bracketed = before.endsWith('(') && written.includes(')');
  if (!named && !(whole && (bracketed || (groups.length > 1 && written.startsWith('0'))))) return false;
  return isNationalNumber(written, named);
}
