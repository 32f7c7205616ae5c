import { canonical } from './canonical.ts';
import {
  DIGIT,
  DIGITS,
  KINDS,
  LATIN,
  LETTERS,
  PARTS_SPELLED,
  PLATE_SIGNS,
  SPELLED_DIGITS,
} from './characters.ts';
import { openChineseAddress } from './chinese-address.ts';
import { openChineseName } from './chinese-name.ts';
import { openEnglishName } from './english-name.ts';
import { type Facts, factsOf } from './facts.ts';
import type { Finding, PersonalDataType } from './mask.ts';
import type { CompiledRule } from './rules.ts';
import { openWesternAddress } from './western-address.ts';

/** What is looked at of a text's end. */
const REACH = 512;
/** Characters behind a finding that may still change it, by type: an extension, a town, a title. Others need one. */
const TAILS: Readonly<Record<string, number>> = {
  phone: 18,
  address: 90,
  person: 26,
  date_of_birth: 12,
  iban: 3,
};
/** What numbers, codes and addresses of machines are written with, besides blanks. */
const inToken = new Uint8Array(65536);
for (const character of `${DIGITS}${LETTERS}@._%+'’:()#|-ОоΟοІіХхΧ×·•・‧${SPELLED_DIGITS}${PLATE_SIGNS}`)
  inToken[character.charCodeAt(0)] = 1;
const SOME_DIGIT = /[\d〇零一二三四五六七八九壹贰叁肆伍陆柒捌玖幺OoОоΟοlI|]/;
const IBAN_HEAD = /(?:^|[^0-9A-Za-z])([A-Za-z]{2}[ -]?\d[ -]?\d(?:[ -]?[0-9A-Za-z]){0,31}[ -]?)$/;
const IBAN_REACH = 50;
const DATE_REACH = 40;
const DATE = /(?:\d{1,4}|[A-Za-z]{3,9}\.?)[\d年月日号 ,./a-zA-Z-]{0,24}出?$/;

/** From where personal data may be under way at a text's end, before it is looked at what it holds. */
export function openFrom(
  given: string,
  types: ReadonlySet<PersonalDataType>,
  rules: readonly CompiledRule[],
): number {
  const from = Math.max(0, given.length - REACH);
  const { text, startOf } = canonical(from === 0 ? given : given.slice(from));
  const facts = factsOf(text, 0);
  let at = openToken(text);
  const hold = (place: number) => {
    if (place < at) at = place;
  };
  if (types.has('person')) {
    hold(openChineseName(text));
    hold(openEnglishName(text, facts));
  }
  if (types.has('address')) {
    hold(openChineseAddress(text, facts));
    hold(openWesternAddress(text, facts));
  }
  if (types.has('date_of_birth') && lastDigit(facts) >= text.length - DATE_REACH)
    hold(DATE.test(text.slice(-DATE_REACH)) ? startOfDate(text) : text.length);
  for (const { maxLength } of rules) hold(Math.max(0, text.length - maxLength - 1));
  return Math.min(from + startOf(at), given.length);
}

/**
 * Where the settled part of a text ends: what stands behind may still become a part of personal data.
 *
 * @param found all that is found in the text
 * @param open from where more may be under way
 */
export function settledBefore(text: string, found: readonly Finding[], open: number): number {
  let settled = open;
  for (let i = found.length - 1; i >= 0; i--) {
    const { type, start, end } = found[i]!;
    if (text.length - end < (TAILS[type] ?? 2) && start < settled) settled = start;
  }
  return settled;
}

const lastDigit = ({ runs }: Facts) => runs[runs.length - 1] ?? -1;

/** From where a number, a code or an address may be under way: the last word, and those with digits before it. */
function openToken(text: string): number {
  let at = text.length;
  let kept = at;
  for (;;) {
    let end = at;
    // One or two separators part the groups of a number.
    while (end > 0 && text.length - end < REACH && text[end - 1] === ' ' && at - end < 2) end--;
    let start = end;
    while (start > 0 && inToken[text.charCodeAt(start - 1)] === 1) start--;
    const token = text.slice(start, end);
    if (token === '') break;
    const first = kept === text.length;
    if (!first && !SOME_DIGIT.test(token) && !/^[+(]/.test(token)) break;
    kept = start;
    at = start;
    if (start === 0 || text[start - 1] !== ' ') break;
  }
  const head = hasDigits(text) ? IBAN_HEAD.exec(text.slice(-IBAN_REACH)) : undefined;
  return head ? Math.min(kept, text.length - head[1]!.length) : kept;
}

/** Whether the characters that an account number may end with hold two digits, as its head does. */
function hasDigits(text: string): boolean {
  let digits = 0;
  for (let at = text.length - 1; at >= 0 && text.length - at <= IBAN_REACH; at--) {
    const kind = KINDS[text.charCodeAt(at)]!;
    if (kind & DIGIT) digits++;
    else if (!(kind & (LATIN | PARTS_SPELLED))) break;
  }
  return digits >= 2;
}

function startOfDate(text: string): number {
  const tail = Math.max(0, text.length - DATE_REACH);
  const match =
    /(?<![\dA-Za-z])(?:\d{1,4}(?:st|nd|rd|th)?|[A-Za-z]{3,9}\.?)(?:[ ,./年月日号-]{1,2}(?:of )?(?:\d{1,4}(?:st|nd|rd|th)?|[A-Za-z]{1,9}\.?)){0,3}[ ,./年月日号-]{0,2}出?$/.exec(
      text.slice(tail),
    );
  return match && /\d/.test(match[0]) ? tail + match.index : text.length;
}
