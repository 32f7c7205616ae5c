import { AT_SIGN, characterSet, DIGITS, LETTERS } from './characters.ts';
import type { Facts } from './facts.ts';
import type { Span } from './mask.ts';

const inLocal = characterSet(`${LETTERS}${DIGITS}._%+'-`);
const inDomain = characterSet(`${LETTERS}${DIGITS}.-`);
/** RFC 5321. */
const MAX_LOCAL = 64;
const MAX_DOMAIN = 253;
const LABEL = /^[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?$/;
const TOP_LEVEL = /^(?:[A-Za-z]{2,63}|xn--[A-Za-z0-9-]+)$/;

/**
 * E-mail addresses, found from their @ outwards, so that no text takes more than its own length.
 *
 * @param text canonical
 */
export function findEmails(text: string, { has }: Facts): Span[] {
  if (!(has & AT_SIGN)) return [];
  const found: Span[] = [];
  let last = 0;
  for (let at = text.indexOf('@'); at >= 0; at = text.indexOf('@', at + 1)) {
    let start = at;
    while (start > last && at - start <= MAX_LOCAL && inLocal(text.charCodeAt(start - 1))) start--;
    const tooLong = at - start > MAX_LOCAL;
    while (start < at && /[.'-]/.test(text[start]!)) start++;
    if (start === at || tooLong) continue;
    let end = at + 1;
    while (end < text.length && end - at <= MAX_DOMAIN && inDomain(text.charCodeAt(end))) end++;
    while (end > at + 1 && /[.-]/.test(text[end - 1]!)) end--;
    const labels = text.slice(at + 1, end).split('.');
    const real = labels.length > 1 && labels.every((label) => LABEL.test(label));
    if (!real || !TOP_LEVEL.test(labels.at(-1)!)) continue;
    found.push({ start, end });
    // Of `a@b.cn@c.de` the address that was found first is kept.
    last = end;
  }
  return found;
}
