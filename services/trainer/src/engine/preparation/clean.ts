/** Breaks of lines that HTML writes as tags. */
const BREAKS =
  /<\/?(?:br|p|div|li|tr|h[1-6]|ul|ol|table|blockquote|section|article)(?:\s[^<>]{0,2000})?\/?>/gi;
const TAGS =
  /<\/?(?:a|abbr|b|big|body|button|center|em|font|form|head|html|i|iframe|img|input|label|link|meta|s|small|span|strong|sub|sup|tbody|td|th|thead|u)(?:\s[^<>]{0,2000})?\/?>/gi;
const INVISIBLE_PARTS =
  /<(script|style)(?:\s[^<>]{0,2000})?>[^<]*(?:<(?!\/(?:script|style)>)[^<]*)*<\/\1>|<!--[^>]*-->/gi;
const ENTITY =
  /&(?:#(\d{1,7})|#x([0-9a-f]{1,6})|(nbsp|amp|lt|gt|quot|apos|mdash|ndash|hellip|ldquo|rdquo));/gi;
const NAMED: Record<string, string> = {
  nbsp: ' ',
  amp: '&',
  lt: '<',
  gt: '>',
  quot: '"',
  apos: "'",
  mdash: '—',
  ndash: '–',
  hellip: '…',
  ldquo: '“',
  rdquo: '”',
};
/**
 * Control characters but for tab and line feed; marks that are not seen and change how text reads or splits. The
 * joiners U+200C and U+200D stay: emoji and several scripts are written with them.
 */
const CONTROL =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
  /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]/g;

/** A text without what a crawl or an export left in it, and what that was. */
export interface Cleaned {
  text: string;
  /** Of `html`, `control characters`, `blanks`. */
  removed: string[];
}

/**
 * Takes out remains of HTML, control and invisible characters, and blanks at the ends of lines; puts Unicode into its
 * composed form (NFC). Tags in a text with code in it (a backtick) are its subject and stay.
 */
export function clean(text: string): Cleaned {
  const removed: string[] = [];
  const step = (name: string, next: (text: string) => string) => {
    const after = next(now);
    if (after !== now && !removed.includes(name)) removed.push(name);
    now = after;
  };
  let now = text.replace(/\r\n?|[\u2028\u2029]/g, '\n').normalize('NFC');
  if (!text.includes('`')) step('html', withoutHtml);
  step('control characters', (value) => value.replace(CONTROL, ''));
  now = now.replace(/[ \t\u00a0\u3000]+$/gm, '').trim();
  step('blanks', (value) => value.replace(/\n{3,}/g, '\n\n'));
  return { text: now, removed };
}

function withoutHtml(text: string): string {
  if (!/[<&]/.test(text)) return text;
  return text
    .replace(INVISIBLE_PARTS, '')
    .replace(BREAKS, '\n')
    .replace(TAGS, '')
    .replace(ENTITY, (entity, decimal?: string, hexadecimal?: string, name?: string) => {
      if (name) return NAMED[name.toLowerCase()]!;
      const code = decimal ? Number(decimal) : Number.parseInt(hexadecimal!, 16);
      const valid = code > 0 && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
      return valid ? String.fromCodePoint(code) : entity;
    });
}
