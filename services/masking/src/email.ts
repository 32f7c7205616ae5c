import type { Span } from './mask.ts';

const LOCAL = /[A-Za-z0-9._%+'-]/;
const DOMAIN = /[A-Za-z0-9.-]/;
/** RFC 5321. */
const MAX_LOCAL = 64;
const MAX_DOMAIN = 253;

/**
 * E-mail addresses, found from their @ outwards, so that no text takes more than its own length.
 *
 * @param text with full-width characters made narrow
 */
export function* findEmails(text: string): Generator<Span> {
  for (let at = text.indexOf('@'); at >= 0; at = text.indexOf('@', at + 1)) {
    let start = at;
    while (start > 0 && at - start <= MAX_LOCAL && LOCAL.test(text[start - 1]!)) start--;
    let end = at + 1;
    while (end < text.length && end - at <= MAX_DOMAIN && DOMAIN.test(text[end]!)) end++;
    while (start < at && /[.'-]/.test(text[start]!)) start++;
    while (end > at + 1 && /[.-]/.test(text[end - 1]!)) end--;
    const labels = text.slice(at + 1, end).split('.');
    const real = labels.every((label) => /^[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?$/.test(label));
    const local = at - start;
    if (local === 0 || local > MAX_LOCAL || labels.length < 2 || !real) continue;
    if (/^(?:[A-Za-z]{2,63}|xn--[A-Za-z0-9-]+)$/.test(labels.at(-1)!)) yield { start, end };
  }
}
