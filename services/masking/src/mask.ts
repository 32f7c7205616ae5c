import { findBirthDates } from './birth-date.ts';
import { canonical, withPlainNumbers } from './canonical.ts';
import { findChineseAddresses } from './chinese-address.ts';
import { findChineseNames } from './chinese-name.ts';
import { findCreditCodes } from './credit-code.ts';
import { findEmails } from './email.ts';
import { findEnglishNames } from './english-name.ts';
import { type Facts, factsOf } from './facts.ts';
import { findIbans } from './iban.ts';
import { findIpAddresses } from './ip-address.ts';
import { findLicensePlates } from './license-plate.ts';
import { findNumbers } from './numbers.ts';
import { findPassports } from './passport.ts';
import type { CompiledRule } from './rules.ts';
import { findSocialSecurityNumbers } from './social-security-number.ts';
import { findWesternAddresses } from './western-address.ts';

/** What has a form of its own, which tells it without the words around it. */
export const NUMBERED_TYPES = [
  'email',
  'ip_address',
  'id_number',
  'card',
  'phone',
  'iban',
  'credit_code',
  'license_plate',
  'us_ssn',
  'passport',
] as const;
/** Kinds of personal data; the names are stable, reports and policies keep them. */
export const PERSONAL_DATA_TYPES = [...NUMBERED_TYPES, 'person', 'address', 'date_of_birth'] as const;
export type PersonalDataType = (typeof PERSONAL_DATA_TYPES)[number];

/** What is looked for where nothing is said: what has a check digit or a form that little else has. */
export const DEFAULT_TYPES: readonly PersonalDataType[] = NUMBERED_TYPES.filter(
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

/** What was found: personal data, or what a customer's rule of that name looks for. */
export interface Finding extends Span {
  type: string;
}

export interface MaskOptions {
  /** What is looked for. Default DEFAULT_TYPES. */
  types?: readonly PersonalDataType[];
  /** What stands in its place; `[ID_NUMBER]` and the like by default. */
  replacement?: (type: PersonalDataType) => string;
}

/** The text with its personal data replaced, and what was replaced where (in the given text), in order. */
export function mask(text: string, options: MaskOptions = {}): { text: string; found: PersonalData[] } {
  const { replacement = (type) => placeholder(type) } = options;
  const found = findPersonalData(text, options.types);
  return { text: replaced(text, found, ({ type }) => replacement(type)), found };
}

export const placeholder = (type: string) => `[${type.toUpperCase()}]`;

/** A text with findings, in order and without overlaps, replaced. */
export function replaced<T extends Span>(
  text: string,
  found: readonly T[],
  replacement: (one: T) => string,
): string {
  if (found.length === 0) return text;
  let result = '';
  let end = 0;
  for (const one of found) {
    result += text.slice(end, one.start) + replacement(one);
    end = one.end;
  }
  return result + text.slice(end);
}

/** Personal data in a text, in order and without overlaps. Takes time in proportion to the text's length. */
export function findPersonalData(
  text: string,
  types: readonly PersonalDataType[] = DEFAULT_TYPES,
): PersonalData[] {
  return find(text, new Set(types), [], 0) as PersonalData[];
}

/**
 * The same with a customer's rules; what a rule finds goes before what else begins at the same place.
 *
 * @param from behind which findings end that are told of; what stands before only leads to them
 */
export function findAll(
  text: string,
  types: ReadonlySet<PersonalDataType>,
  rules: readonly CompiledRule[],
  from = 0,
): Finding[] {
  return find(text, types, rules, from);
}

/**
 * Whether a text has personal data that has a form of its own, that without a check digit too: for what must not leave
 * at all. Names and places alone are no reason to keep a text.
 */
export function holdsPersonalData(text: string): boolean {
  return findPersonalData(text, NUMBERED_TYPES).length > 0;
}

/** Finders that need nothing from one another. */
const FINDERS: readonly (readonly [PersonalDataType, (text: string, facts: Facts) => readonly Span[]])[] = [
  ['email', findEmails],
  ['iban', findIbans],
  ['credit_code', findCreditCodes],
  ['license_plate', findLicensePlates],
  ['passport', findPassports],
  ['address', findChineseAddresses],
  ['address', findWesternAddresses],
  ['person', findChineseNames],
  ['person', findEnglishNames],
  ['date_of_birth', findBirthDates],
];

function find(
  given: string,
  wanted: ReadonlySet<PersonalDataType>,
  rules: readonly CompiledRule[],
  from: number,
): Finding[] {
  const { text, startOf, endOf } = canonical(given);
  const even = text.length === given.length;
  const facts = factsOf(text, even ? from : 0);
  const found: Finding[] = [];
  for (const rule of rules) add(found, rule.name, [...rule.find(text)]);
  addNumbers(found, text, wanted, facts);
  for (const [type, finder] of FINDERS) if (wanted.has(type)) add(found, type, finder(text, facts));
  const own = withoutOverlaps(found);
  if (even && from === 0) return own;
  const placed = own.map(({ type, start, end }) => ({ type, start: startOf(start), end: endOf(end) }));
  return placed.filter(({ end }) => end > from);
}

function add(found: Finding[], type: string, spans: readonly Span[]): void {
  for (let i = 0; i < spans.length; i++) found.push({ type, start: spans[i]!.start, end: spans[i]!.end });
}

/** Addresses of machines and numbers of people: of what could be either, the address goes first. */
function addNumbers(
  found: Finding[],
  text: string,
  wanted: ReadonlySet<PersonalDataType>,
  facts: Facts,
): void {
  const addresses = wanted.has('ip_address') ? findIpAddresses(text, facts) : [];
  add(found, 'ip_address', addresses);
  const numbers = wanted.has('id_number') || wanted.has('card') || wanted.has('phone');
  if (!numbers && !wanted.has('us_ssn')) return;
  const plain = withPlainNumbers(text, facts);
  const plainFacts = plain === text ? facts : factsOf(plain, facts.from);
  if (plainFacts.digits === 0) return;
  const social = wanted.has('us_ssn') ? findSocialSecurityNumbers(plain, plainFacts) : [];
  add(found, 'us_ssn', social);
  if (!numbers) return;
  // An address that stands behind a number is no part of it, even where the two together pass a check digit.
  const others = addresses.length + social.length > 0 ? blanked(plain, [...addresses, ...social]) : plain;
  const othersFacts = others === plain ? plainFacts : factsOf(others, facts.from);
  for (const one of findNumbers(others, othersFacts)) if (wanted.has(one.type)) found.push(one);
}

/** Blanks in the place of spans. */
function blanked(text: string, spans: readonly Span[]): string {
  const inOrder = spans.map((span) => ({ ...span, type: '' }));
  return replaced(text, withoutOverlaps(inOrder), (span) => ' '.repeat(span.end - span.start));
}

/** Of what overlaps, what starts first stays; of those that start together, the longest, and of equals the first. */
function withoutOverlaps(found: Finding[]): Finding[] {
  if (found.length < 2) return found;
  found.sort((a, b) => a.start - b.start || b.end - a.end);
  let end = 0;
  return found.filter((one) => {
    if (one.start < end) return false;
    end = one.end;
    return true;
  });
}
