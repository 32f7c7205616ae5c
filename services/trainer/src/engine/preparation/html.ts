/** Elements that end a line of text, and those within one; any other name in angle brackets is text. */
const BLOCKS = new Set(
  (
    'address article aside blockquote br dd details div dl dt fieldset figcaption figure footer form h1 h2 h3 h4 h5 ' +
    'h6 header hr li main nav ol p pre section table tbody tfoot thead tr ul'
  ).split(' '),
);
const INLINE = new Set(
  (
    'a abbr b big body button center cite code del em embed font head html i iframe img input ins label link mark ' +
    'meta noscript object option q s script select small source span strong style sub sup svg td textarea th title ' +
    'tt u var video'
  ).split(' '),
);
/** Elements whose content is not text. */
const UNSEEN = new Set(['script', 'style']);
/** One tag; what stands between two `<` is looked at once. */
const TAG = /<(\/?)([a-z][a-z0-9]*)(\s[^<>]*)?\/?>/iy;
const DECLARATION = /<(?:!doctype|\?xml)[^<>]*>/iy;
const ENTITY = /&(?:#(\d{1,7})|#x([0-9a-f]{1,6})|([a-z]{2,6}));/gi;
const NAMED: Record<string, string> = {
  nbsp: ' ',
  ensp: ' ',
  emsp: ' ',
  amp: '&',
  lt: '<',
  gt: '>',
  quot: '"',
  apos: "'",
  mdash: '—',
  ndash: '–',
  hellip: '…',
  middot: '·',
  times: '×',
  deg: '°',
  ldquo: '“',
  rdquo: '”',
  lsquo: '‘',
  rsquo: '’',
};

/** A text without the tags, comments, scripts and entities of HTML. Takes time in proportion to its length. */
export function withoutHtml(text: string): string {
  return decodeEntities(withoutTags(text));
}

function withoutTags(text: string): string {
  let out = '';
  let at = 0;
  // Ends that were looked for in vain stand nowhere further on either.
  const missing = new Set<string>();
  const behind = (end: RegExp, from: number): number | undefined => {
    if (missing.has(end.source)) return undefined;
    end.lastIndex = from;
    if (end.test(text)) return end.lastIndex;
    missing.add(end.source);
    return undefined;
  };
  for (let open = text.indexOf('<'); open >= 0; open = text.indexOf('<', at)) {
    out += text.slice(at, open);
    const [kept, next] = readTag(text, open, behind) ?? ['<', open + 1];
    out += kept;
    at = next;
  }
  return out + text.slice(at);
}

/** What takes a tag's place, and where the text goes on behind it; undefined where none begins. */
function readTag(
  text: string,
  open: number,
  behind: (end: RegExp, from: number) => number | undefined,
): [string, number] | undefined {
  if (text.startsWith('<!--', open)) {
    const end = behind(/-->/g, open + 4);
    return end === undefined ? undefined : ['', end];
  }
  DECLARATION.lastIndex = open;
  if (DECLARATION.test(text)) return ['', DECLARATION.lastIndex];
  TAG.lastIndex = open;
  const match = TAG.exec(text);
  if (!match) return undefined;
  const name = match[2]!.toLowerCase();
  const attributes = match[3]?.trim() ?? '';
  // `a <b and c> d` compares.
  if (attributes !== '' && !attributes.includes('=')) return undefined;
  const next = open + match[0].length;
  if (BLOCKS.has(name)) return ['\n', next];
  if (!INLINE.has(name)) return undefined;
  const unseen = UNSEEN.has(name) && match[1] === '';
  return ['', (unseen && behind(name === 'script' ? /<\/script\s*>/gi : /<\/style\s*>/gi, next)) || next];
}

function decodeEntities(text: string): string {
  if (!text.includes('&')) return text;
  return text.replace(ENTITY, (entity, decimal?: string, hexadecimal?: string, name?: string) => {
    if (name) return NAMED[name.toLowerCase()] ?? entity;
    const code = decimal ? Number(decimal) : Number.parseInt(hexadecimal!, 16);
    const valid = code > 0 && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
    return valid ? String.fromCodePoint(code) : entity;
  });
}
