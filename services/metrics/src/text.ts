// Text primitives as sacrebleu has them. It is written in Python, whose idea of white space differs from
// JavaScript's \s (which lacks U+001C to U+001F and U+0085 and has U+FEFF); scores agree only when these agree.

const SPACE = '\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000';
const RUN = new RegExp(`[${SPACE}]+`, 'u');
const LEADING = new RegExp(`^[${SPACE}]+`, 'u');
const WHITE = new RegExp(`^[${SPACE}]$`, 'u');

/** Python's `str.split()`: words between runs of white space. */
export function splitWords(text: string): string[] {
  return text.split(RUN).filter((word) => word !== '');
}

/** Python's `str.strip()`. */
export function strip(text: string): string {
  return stripEnd(text.replace(LEADING, ''));
}

/** Python's `str.rstrip()`. */
export function stripEnd(text: string): string {
  // A loop, since a pattern anchored only at the end costs n² on a long run of blanks within the text.
  let end = text.length;
  while (end > 0 && WHITE.test(text[end - 1]!)) end--;
  return text.slice(0, end);
}

/** Counts of equal strings. */
export function countAll(items: Iterable<string>): Map<string, number> {
  const counts = new Map<string, number>();
  for (const item of items) counts.set(item, (counts.get(item) ?? 0) + 1);
  return counts;
}
