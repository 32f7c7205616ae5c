import { isCardNumber } from './card-number.ts';
import { isWordAt } from './characters.ts';
import { isIdNumber } from './id-number.ts';
import type { Span } from './mask.ts';
import { isPhoneNumber } from './phone-number.ts';

/** What a number can be of a person. */
export type NumberType = 'id_number' | 'card' | 'phone';

interface Group extends Span {
  digits: string;
}

/** Digits, separated by one or two blanks, hyphens, dots or brackets. */
const RUN = /\+?\(?\d(?:\d|[ .()-]{1,2}(?=\d))*[Xx]?/g;
const GROUP = /\d+[Xx]?/g;
/** More groups than any number is written in. */
const MAX_GROUPS = 6;
const [MIN_DIGITS, MAX_DIGITS] = [10, 24];
const ID_GROUPS = new Set(['15', '18', '6-8-4', '3-3-4-4-4', '6-4-4-4']);

/**
 * Identity numbers, bank cards and phones in runs of digits: from each group on the longest join that is one.
 *
 * @param text with full-width characters made narrow
 */
export function* findNumbers(text: string): Generator<Span & { type: NumberType }> {
  for (const { 0: run, index: offset } of text.matchAll(RUN)) {
    if (run.length < MIN_DIGITS) continue;
    const groups = [...run.matchAll(GROUP)].map(({ 0: digits, index }) => ({
      digits,
      start: offset + index,
      end: offset + index + digits.length,
    }));
    for (let first = 0; first < groups.length; first++) {
      for (let count = Math.min(MAX_GROUPS, groups.length - first); count > 0; count--) {
        const joined = groups.slice(first, first + count);
        const type = typeOf(text, joined);
        if (!type) continue;
        yield { type, start: startOf(text, joined), end: joined.at(-1)!.end };
        first += count - 1;
        break;
      }
    }
  }
}

/** The bracket that is closed inside, and the plus sign, belong to the number. */
function startOf(text: string, groups: readonly Group[]): number {
  let { start } = groups[0]!;
  if (text[start - 1] === '(' && text.slice(start, groups.at(-1)!.end).includes(')')) start--;
  return text[start - 1] === '+' ? start - 1 : start;
}

function typeOf(text: string, groups: readonly Group[]): NumberType | undefined {
  const length = groups.reduce((sum, { digits }) => sum + digits.length, 0);
  if (length < MIN_DIGITS || length > MAX_DIGITS) return undefined;
  const [start, end] = [groups[0]!.start, groups.at(-1)!.end];
  // A part of a name, of a hash, of a decimal fraction or of an amount with decimals is no number of a person.
  if (isWordAt(text, start - 1) || isWordAt(text, end)) return undefined;
  if (text[start - 1] === '.' && /\d/.test(text[start - 2] ?? '')) return undefined;
  const digits = groups.map((group) => group.digits).join('');
  const lengths = groups.map((group) => group.digits.length);
  if (!text.slice(start, end).includes('.')) {
    if (ID_GROUPS.has(lengths.join('-')) && isIdNumber(digits)) return 'id_number';
    if (lengths.slice(0, -1).every((n) => n >= 4) && isCardNumber(digits)) return 'card';
  }
  if (/[Xx]$/.test(digits)) return undefined;
  const plus = text[start - 1] === '+' || (text[start - 1] === '(' && text[start - 2] === '+');
  return isPhoneNumber({ plus, groups: groups.map((group) => group.digits) }) ? 'phone' : undefined;
}
