import { isWordAt, LATIN } from './characters.ts';
import { CODE, type Facts } from './facts.ts';
import type { Span } from './mask.ts';

/** Lengths by country: the IBAN registry of SWIFT (ISO 13616), and countries that use the form without an entry there. */
const LENGTHS: Readonly<Record<string, number>> = {
  AD: 24,
  AE: 23,
  AL: 28,
  AT: 20,
  AZ: 28,
  BA: 20,
  BE: 16,
  BG: 22,
  BH: 22,
  BI: 27,
  BR: 29,
  BY: 28,
  CH: 21,
  CR: 22,
  CY: 28,
  CZ: 24,
  DE: 22,
  DJ: 27,
  DK: 18,
  DO: 28,
  EE: 20,
  EG: 29,
  ES: 24,
  FI: 18,
  FK: 18,
  FO: 18,
  FR: 27,
  GB: 22,
  GE: 22,
  GI: 23,
  GL: 18,
  GR: 27,
  GT: 28,
  HN: 28,
  HR: 21,
  HU: 28,
  IE: 22,
  IL: 23,
  IQ: 23,
  IS: 26,
  IT: 27,
  JO: 30,
  KW: 30,
  KZ: 20,
  LB: 28,
  LC: 32,
  LI: 21,
  LT: 20,
  LU: 20,
  LV: 21,
  LY: 25,
  MC: 27,
  MD: 24,
  ME: 22,
  MK: 19,
  MN: 20,
  MR: 27,
  MT: 31,
  MU: 30,
  NI: 28,
  NL: 18,
  NO: 15,
  OM: 23,
  PK: 24,
  PL: 28,
  PS: 29,
  PT: 25,
  QA: 29,
  RO: 24,
  RS: 22,
  RU: 33,
  SA: 24,
  SC: 31,
  SD: 18,
  SE: 24,
  SI: 19,
  SK: 24,
  SM: 27,
  SO: 23,
  ST: 25,
  SV: 28,
  TL: 23,
  TN: 24,
  TR: 26,
  UA: 29,
  VA: 22,
  VG: 24,
  XK: 20,
  YE: 30,
  AO: 25,
  BF: 28,
  BJ: 28,
  CF: 27,
  CG: 27,
  CI: 28,
  CM: 27,
  CV: 25,
  DZ: 26,
  GA: 27,
  GQ: 27,
  GW: 25,
  IR: 26,
  KM: 27,
  MA: 28,
  MG: 27,
  ML: 28,
  MZ: 25,
  NE: 28,
  SN: 28,
  TD: 27,
  TG: 28,
};
const HEAD = /[A-Z]{2}[ -]?\d[ -]?\d/gi;

/**
 * International bank account numbers, in one run or with single blanks or hyphens anywhere.
 *
 * @param text canonical
 */
export function findIbans(text: string, { hints, has }: Facts): Span[] {
  if (!(hints & CODE) || !(has & LATIN)) return [];
  const found: Span[] = [];
  let last = 0;
  for (const { 0: head, index: start } of text.matchAll(HEAD)) {
    const length = LENGTHS[head.slice(0, 2).toUpperCase()];
    if (length === undefined || start < last || isWordAt(text, start - 1)) continue;
    let code = '';
    let at = start;
    while (code.length < length && at < text.length) {
      const character = text[at]!;
      if (/[0-9A-Za-z]/.test(character)) code += character;
      else if (!/[ -]/.test(character) || !/[0-9A-Za-z]/.test(text[at + 1] ?? '')) break;
      at++;
    }
    if (code.length !== length || isWordAt(text, at) || !isIban(code)) continue;
    found.push({ start, end: at });
    last = at;
  }
  return found;
}

/** True when the check digits hold (ISO 7064, MOD 97-10). */
export function isIban(code: string): boolean {
  const moved = (code.slice(4) + code.slice(0, 4)).toUpperCase();
  let rest = 0;
  for (const character of moved) {
    const value = Number.parseInt(character, 36);
    rest = (rest * (value > 9 ? 100 : 10) + value) % 97;
  }
  return rest === 1;
}
