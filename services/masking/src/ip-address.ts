import { isIPv6 } from 'node:net';
import { isWordAt } from './characters.ts';
import { type Facts, NEAR_COLONS } from './facts.ts';
import type { Span } from './mask.ts';

const V4 = /\d{1,3}(?:\.\d{1,3}){3}/g;
const V6 = /[0-9A-Fa-f:][0-9A-Fa-f:.]+/g;
const V4_DOTS = 3;
/** Longest way to write one: six groups and a dotted tail. */
const MAX_V6 = 45;
/** Characters left out at the two ends, in the order of trial. */
const CUTS = [
  [0, 0],
  [0, 1],
  [1, 0],
  [1, 1],
] as const;

/**
 * Addresses of the internet protocol, versions 4 and 6.
 *
 * @param text canonical
 */
export function findIpAddresses(text: string, { dots, hints }: Facts): Span[] {
  const six = hints & NEAR_COLONS ? findV6(text) : [];
  if (dots < V4_DOTS) return six;
  const found = [...six];
  let next = 0;
  for (const { 0: written, index: start } of text.matchAll(V4)) {
    const end = start + written.length;
    while (next < six.length && six[next]!.end <= start) next++;
    if (next < six.length && six[next]!.start < end) continue;
    // Of five numbers with dots, no four are an address.
    const longer = dotted(text, start - 1, start - 2) || dotted(text, end, end + 1);
    if (isWordAt(text, start - 1) || isWordAt(text, end) || longer) continue;
    if (written.split('.').every(isOctet)) found.push({ start, end });
  }
  return found;
}

function findV6(text: string): Span[] {
  const spans: Span[] = [];
  for (const { 0: run, index } of text.matchAll(V6)) {
    if (run.length > MAX_V6 + 3 || !/:.*:/.test(run)) continue;
    // A colon before an address, a full stop or a colon behind it, is the sentence's.
    for (const [before, after] of CUTS) {
      const [start, end] = [index + before, index + run.length - after];
      const found = text.slice(start, end);
      // `abc::def` is a name in a program; `::` is nobody's.
      if (!/\d/.test(found) || !isIPv6(found) || isWordAt(text, start - 1) || isWordAt(text, end)) continue;
      spans.push({ start, end });
      break;
    }
  }
  return spans;
}

function dotted(text: string, dot: number, digit: number): boolean {
  return text[dot] === '.' && /\d/.test(text[digit] ?? '');
}

/** 0 to 255 without a leading zero. */
function isOctet(text: string): boolean {
  return Number(text) <= 255 && (text === '0' || text[0] !== '0');
}
