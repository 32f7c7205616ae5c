import { isWordAt, LATIN } from './characters.ts';
import { type Facts, LONG_CODE } from './facts.ts';
import type { Span } from './mask.ts';

// Ordinary ones (G, E, E with a letter), diplomatic, service and public affairs ones, of Hong Kong and of Macao.
const NUMBER = /[GEDSPKH]\d{8}|E[A-HJ-NP-Z]\d{7}|(?:DE|SE|PE|HJ|KJ|MA|MB)\d{7}/gi;
/** Of other countries, only where the text says what it is (ICAO 9303: up to nine characters). */
const NAMED =
  /(?:passport|护照)(?:[ ]?(?:number|num|no|id|nr|#|号码|号))?[ .:#：为是]{0,4}(?:is |was )?((?=[A-Z]{0,3}\d)[A-Z0-9]{6,9})/gi;

const CALLED = /passport/i;

/**
 * Numbers of passports: Chinese ones by their form, others by the word before them. They have no check digit, and part
 * numbers look like them.
 *
 * @param text canonical
 */
export function findPassports(text: string, { digits, from, has, hints }: Facts): Span[] {
  const found: Span[] = [];
  if (digits === 0) return found;
  if (text.includes('护照') || ((from > 0 || has & LATIN) && CALLED.test(text))) {
    for (const { 0: all, 1: number, index } of text.matchAll(NAMED)) {
      const end = index + all.length;
      if (!isWordAt(text, end)) found.push({ start: end - number!.length, end });
    }
  }
  if (!(hints & LONG_CODE)) return found;
  for (const { 0: number, index: start } of text.matchAll(NUMBER)) {
    const end = start + number.length;
    if (isWordAt(text, start - 1) || isWordAt(text, end)) continue;
    if (!found.some((other) => other.start === start)) found.push({ start, end });
  }
  return found.sort((a, b) => a.start - b.start);
}
