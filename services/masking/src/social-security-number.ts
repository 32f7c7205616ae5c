import { isWordAt } from './characters.ts';
import type { Facts } from './facts.ts';
import type { Span } from './mask.ts';

const NUMBER = /(?!000|666|9)\d{3}([- ]?)(?!00)\d{2}\1(?!0000)\d{4}/g;
const NUMBER_DIGITS = 9;
const CUE = /(?:\bssn|social security)[^\d\n]{0,24}$/i;

/**
 * Social security numbers of the United States: with their separators, or named as such before.
 *
 * @param text canonical
 */
export function findSocialSecurityNumbers(text: string, { digits }: Facts): Span[] {
  const spans: Span[] = [];
  if (digits < NUMBER_DIGITS) return spans;
  for (const { 0: found, 1: separator, index: start } of text.matchAll(NUMBER)) {
    const end = start + found.length;
    if (isPartOfNumber(text, start, end)) continue;
    if (separator === '-' || CUE.test(text.slice(Math.max(0, start - 48), start))) spans.push({ start, end });
  }
  return spans;
}

function isPartOfNumber(text: string, start: number, end: number): boolean {
  if (isWordAt(text, start - 1) || isWordAt(text, end)) return true;
  const joins = (at: number, beyond: number) => /[-.+]/.test(text[at] ?? '') && /\d/.test(text[beyond] ?? '');
  return joins(start - 1, start - 2) || joins(end, end + 1) || text[start - 1] === '+';
}
