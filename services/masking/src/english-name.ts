import { readFileSync } from 'node:fs';
import { CAPITAL, DIGIT, KINDS, LETTER, SMALL } from './characters.ts';
import { CONNECTORS, NAME_SUFFIXES, NOT_IN_NAMES, TITLES } from './data/english-words.ts';
import type { Facts } from './facts.ts';
import type { Span } from './mask.ts';

const list = (file: string) =>
  new Set(readFileSync(new URL(`./data/${file}.txt`, import.meta.url), 'utf8').split(/\s+/));
/** Given names of many countries, and those of them that are words, places or months as well. */
const GIVEN = list('given-names');
const GIVEN_AND_WORDS = list('given-names-that-are-words');

interface Token extends Span {
  text: string;
  lower: string;
}

const TWO_CONNECTORS = /(?:de|van|von) (?:la|der|den|los) (?=\p{Lu})/uy;
const MOST_TOKENS = 5;
const LONGEST_CONNECTOR = 5;

/** What leads to a name: nothing else follows it as often. */
const LEADING =
  /(?:\bname(?:'s| is| was|s are|:)?|\bnamed|\bcalled|\bi am|\bi'm|\bi’m|\bthis is|\bdear|\bhi|\bhello|\bhey|\bsincerely|\bregards|\bthanks|\bcheers|\bsigned|\bpatient|\bcustomer|\bclient|\bemployee|\bcardholder|\bholder|\bcontact|\battn\.?|\battention|\bfrom|\bauthor|\bdriver|\btenant|\brecipient|\bsender|\bbeneficiary|\bapplicant|\bnurse|\bcolleague|\bmanager|\bassistant|\bhusband|\bwife|\bbrother|\bsister|\bson|\bdaughter|\bmother|\bfather|\bfriend|\bneighbou?r|\bboss|\bpartner|\bcousin|\buncle|\baunt|\bmy (?:friend|boss))[\s:,"'(*-]{1,4}$/i;
/** What may lead to one: prepositions and verbs that people are the object of. */
const SOFT_BEFORE =
  /(?:\b(?:Did|Does|Is|Was|Has|Can|Could|Will|Would|Should)|\bwith|\bby|\bfor|\bto|\band|\bor|\bmet|\bmeet|\bask|\basked|\btell|\btold|\bsaw|\bemail|\bemailed|\bphone|\bcall|\binvite|\bthat|\bif|\bof|\bis|\bwas|\bsays|\bsaid|\bfounder|\bceo|\bpresident|\bdirector)[\s:,"'(]{1,3}$/i;
const FOLLOWING =
  /^(?:['’]s\b|,? (?:\(?age|\(?aged|\d{1,3} years)|,? who\b|,? born\b| (?:lives?|lived|works?|worked|said|says|told|asked|called|emailed|wrote|was|is|has|had|will|would|can|could|wants?|needs?|paid|owes?|signed|moved|arrived|joined|reported|complain(?:s|ed)|requested|visited|admitted)\b|,? (?:md|phd|esq|jr|sr)\b)/i;
/** Ends that family names have and few other words. */
const FAMILY_END =
  /(?:^(?:mc|mac|o['’]|fitz|van|von)\p{L}{3}|(?:son|sen|sson|ez|ski|sky|ska|ova|ov|ev|eva|enko|uk|chuk|stein|berg|mann|man|feld|witz|wicz|vic|vić|vich|ić|ini|elli|etti|escu|idis|opoulos|akis|yan|ian|dze|shvili|poor|zadeh|pour|moto|mura|yama|shima|saki|wala|ström|strom|gren|quist|qvist|lund|dahl|ton|ley|ford|worth|wood|field|well|man|er|ard|as|ak|ek|ik))$/iu;

/**
 * Names of people in Latin letters: a given name with what follows it, or what stands where names do.
 *
 * @param text canonical
 */
export function findEnglishNames(text: string, { capitals }: Facts): Span[] {
  const spans: Span[] = [];
  let end = 0;
  for (const at of capitals) {
    if (at < end) continue;
    const tokens = run(text, at);
    if (tokens.length === 0) continue;
    addNames(spans, text, tokens);
    end = tokens[tokens.length - 1]!.end;
  }
  return spans;
}

const [BLANK, STOP, COMMA, HYPHEN, QUOTE, CURVED_QUOTE] = [0x20, 0x2e, 0x2c, 0x2d, 0x27, 0x2019];
const is = (text: string, at: number, kind: number) => (KINDS[text.charCodeAt(at)]! & kind) !== 0;

/** Where a capitalised word ends, without a full stop: `Anna`, `O'Neil`, `McKay`, `Smith-Jones`, `J`, `JOHN`. */
function wordEnd(text: string, start: number): number {
  let at = start + 1;
  for (; ; at++) {
    if (is(text, at, LETTER)) continue;
    const code = text.charCodeAt(at);
    if (code === HYPHEN ? is(text, at + 1, LETTER) : code === QUOTE || code === CURVED_QUOTE) {
      if (is(text, at + 1, LETTER) && (code === HYPHEN || is(text, at + 2, LETTER))) continue;
    }
    return at;
  }
}

const SUFFIX_BEHIND_COMMA = / ([A-Za-z]{2,3})\b/y;

/** Capitalised words with single blanks between them, and small words between such. */
function run(text: string, start: number): Token[] {
  const tokens: Token[] = [];
  let at = start;
  while (tokens.length < 12 && is(text, at, CAPITAL)) {
    const wordsEnd = wordEnd(text, at);
    const bare = text.slice(at, wordsEnd);
    const lower = bare.toLowerCase();
    // A full stop belongs to an initial or a title, and ends a sentence otherwise.
    const stopped = text.charCodeAt(wordsEnd) === STOP;
    const ends = stopped && bare.length > 1 && !TITLES.has(lower) && !NAME_SUFFIXES.has(lower);
    const end = stopped && !ends ? wordsEnd + 1 : wordsEnd;
    if (is(text, end, DIGIT) || text[end] === '_' || text[end] === '@') break;
    tokens.push({ start: at, end, text: bare, lower });
    if (ends) break;
    at = end;
    if (text.charCodeAt(at) === COMMA && isSuffixBehind(text, at + 1)) at++;
    if (text.charCodeAt(at) !== BLANK) break;
    at = behindConnectors(text, at + 1);
  }
  return tokens;
}

function isSuffixBehind(text: string, at: number): boolean {
  SUFFIX_BEHIND_COMMA.lastIndex = at;
  const suffix = SUFFIX_BEHIND_COMMA.exec(text)?.[1];
  return suffix !== undefined && NAME_SUFFIXES.has(suffix.toLowerCase());
}

/** Behind the small words of a name, at most two, with the capital after them. */
function behindConnectors(text: string, start: number): number {
  let at = start;
  for (let i = 0; i < 2 && is(text, at, SMALL); i++) {
    let end = at;
    while (end - at <= LONGEST_CONNECTOR && is(text, end, SMALL)) end++;
    const one = end - at >= 2 && end - at <= LONGEST_CONNECTOR && text.charCodeAt(end) === BLANK;
    if (one && is(text, end + 1, CAPITAL)) {
      if (!CONNECTORS.has(text.slice(at, end))) break;
      at = end + 1;
      continue;
    }
    TWO_CONNECTORS.lastIndex = at;
    const two = TWO_CONNECTORS.exec(text)?.[0];
    if (!two) break;
    at += two.length;
  }
  return at;
}

const isGiven = ({ lower }: Token) =>
  GIVEN.has(lower) || (lower.includes('-') && GIVEN.has(lower.split('-', 1)[0]!));
const mayBeGiven = (token: Token) => isGiven(token) || GIVEN_AND_WORDS.has(token.lower);
const isOut = (token: Token) =>
  (NOT_IN_NAMES.has(token.lower) && !NAME_SUFFIXES.has(token.lower)) ||
  ((token.text.length === 2 || token.text.length === 3) && ALL_CAPITALS.test(token.text));
const ALL_CAPITALS = /^[A-Z]+$/;

function addNames(spans: Span[], text: string, tokens: readonly Token[]): void {
  let first = 0;
  while (first < tokens.length) {
    const token = tokens[first]!;
    const titled = TITLES.has(first > 0 ? tokens[first - 1]!.lower : wordBefore(text, token.start));
    const ambiguous = GIVEN_AND_WORDS.has(token.lower) && first + 1 < tokens.length;
    if (TITLES.has(token.lower) || (isOut(token) && !(ambiguous && !NOT_IN_NAMES.has(token.lower)))) {
      first++;
      continue;
    }
    let last = first;
    while (last + 1 < tokens.length && last - first < MOST_TOKENS - 1 && !isOut(tokens[last + 1]!)) {
      if (TITLES.has(tokens[last + 1]!.lower) && !NAME_SUFFIXES.has(tokens[last + 1]!.lower)) break;
      last++;
    }
    const part = tokens.slice(first, last + 1);
    const name = nameIn(text, part, titled);
    if (name) spans.push(name);
    first = last + 1;
  }
}

const WORD_BEFORE = /(?<![\p{L}\p{N}_'’-])(\p{Lu}[\p{L}'’-]*)\.? (?:\p{Ll}{2,5} ){0,2}$/u;

/** The capitalised word before a run that begins within another: of a stream, what stands before was shown already. */
function wordBefore(text: string, start: number): string {
  return WORD_BEFORE.exec(text.slice(Math.max(0, start - 32), start))?.[1]?.toLowerCase() ?? '';
}

/** The name in a run of words that may be one. */
function nameIn(text: string, part: readonly Token[], titled: boolean): Span | undefined {
  const [first] = part as [Token];
  const end = part[part.length - 1]!.end;
  const span = { start: first.start, end };
  if (titled) return first.text.length > 1 || part.length > 1 ? span : undefined;
  const known = part.findIndex(isGiven);
  if (part.length === 1) {
    if (first.text.length < 3) return undefined;
    if (known === 0) {
      const short = first.text.length < 5 && ALL_CAPITALS.test(first.text);
      return short && !LEADING.test(wordsBefore(text, first)) ? undefined : span;
    }
    const word = GIVEN_AND_WORDS.has(first.lower);
    const signs = [word, FOLLOWING.test(text.slice(end, end + 16))];
    if (!signs.includes(true)) return undefined;
    return !signs.includes(false) || LEADING.test(wordsBefore(text, first)) ? span : undefined;
  }
  if (known === 0) return span;
  // Words before the given name belong to the sentence, unless the text leads to a name.
  const before = wordsBefore(text, first);
  const led = LEADING.test(before);
  if (known > 0 && !led) {
    const start =
      first.text.length === 1 || FAMILY_END.test(first.lower) ? first.start : part[Math.min(known, 1)]!.start;
    return { start: known === 1 ? first.start : start, end };
  }
  if (led) return span;
  const initials = part.some(({ text: word }) => word.length === 1);
  if (initials && part.some(({ text: word }) => word.length > 2)) return span;
  const score =
    (mayBeGiven(first) ? 2 : 0) +
    (FAMILY_END.test(part.at(-1)!.lower) ? 1 : 0) +
    (SOFT_BEFORE.test(before) ? 1 : 0) +
    (FOLLOWING.test(text.slice(end, end + 16)) ? 1 : 0) +
    (/^[\s,]*$/.test(before.slice(-2)) && (text[end] === '\n' || end === text.length) ? 1 : 0);
  return score >= 2 && part.length <= 4 ? span : undefined;
}

const wordsBefore = (text: string, { start }: Token) => text.slice(Math.max(0, start - 24), start);

/** What is looked at behind a name: a verb that people do. */
const LOOKED_AT_BEHIND = 18;
const OPEN_RUN =
  /\p{Lu}[\p{L}'’.-]*(?:,? (?:(?:\p{Ll}{2,5} ){0,2})?\p{Lu}[\p{L}'’.-]*)*(?:,? ?(?:\p{Ll}{1,5} ?){0,2})?/uy;
const RUN_REACH = 160;

/** From where a name may be under way at a text's end, or be decided by what follows. */
export function openEnglishName(text: string, { capitals }: Facts): number {
  const from = text.length - RUN_REACH;
  for (const at of capitals) {
    if (at < from) continue;
    OPEN_RUN.lastIndex = at;
    let end = at + OPEN_RUN.exec(text)![0].length;
    // A run ends with a word, not within one.
    while (end > at && end < text.length && is(text, end, LETTER) && is(text, end - 1, LETTER)) end--;
    if (end > at && end >= text.length - LOOKED_AT_BEHIND) return at;
  }
  return text.length;
}
