import { isWordAt } from './characters.ts';
import type { Span } from './mask.ts';

// Ordinary ones (G, E, E with a letter), diplomatic, service and public affairs ones, of Hong Kong and of Macao.
const NUMBER = /[GEDSPKH]\d{8}|E[A-HJ-NP-Z]\d{7}|(?:DE|SE|PE|HJ|KJ|MA|MB)\d{7}/gi;

/**
 * Numbers of Chinese passports. They have no check digit, and part numbers look like them.
 *
 * @param text with full-width characters made narrow
 */
export function* findPassports(text: string): Generator<Span> {
  for (const { 0: found, index: start } of text.matchAll(NUMBER)) {
    const end = start + found.length;
    if (!isWordAt(text, start - 1) && !isWordAt(text, end)) yield { start, end };
  }
}
