import { isWordAt } from './characters.ts';
import type { Facts } from './facts.ts';
import type { Span } from './mask.ts';

/** GB 32100-2015: without I, O, S, V and Z. */
const CHARACTERS = '0123456789ABCDEFGHJKLMNPQRTUWXY';
/** Authority (5.2.1) and kind, region, then nine characters of the organisation's code and the check character. */
const CODE = /[1-9ANY][1-39][ -]?\d{6}[ -]?[0-9A-HJ-NPQRTUWXY](?:[ -]?[0-9A-HJ-NPQRTUWXY]){9}/gi;

/** The region's. */
const REGION_DIGITS = 6;

/**
 * Unified social credit codes: of organisations, and of one-person businesses, which is why they count here.
 *
 * @param text canonical
 */
export function findCreditCodes(text: string, { longestRun }: Facts): Span[] {
  if (longestRun < REGION_DIGITS) return [];
  const found: Span[] = [];
  for (const { 0: written, index: start } of text.matchAll(CODE)) {
    const end = start + written.length;
    if (isWordAt(text, start - 1) || isWordAt(text, end)) continue;
    if (isCreditCode(written.replace(/[ -]/g, ''))) found.push({ start, end });
  }
  return found;
}

/** True when the check character of GB 32100-2015 (modulo 31, weights 3^i) holds. */
export function isCreditCode(code: string): boolean {
  const characters = code.toUpperCase();
  if (characters.length !== 18) return false;
  let sum = 0;
  let weight = 1;
  for (let i = 0; i < 17; i++) {
    const value = CHARACTERS.indexOf(characters[i]!);
    if (value < 0) return false;
    sum += value * weight;
    weight = (weight * 3) % 31;
  }
  return CHARACTERS[(31 - (sum % 31)) % 31] === characters[17];
}
