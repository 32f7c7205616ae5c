import { withoutHtml } from './html.ts';
import { repairMojibake } from './mojibake.ts';

/**
 * Control characters but for tab and line feed; marks that are not seen and change how text reads or splits;
 * noncharacters. The joiners U+200C and U+200D stay: emoji and several scripts are written with them.
 */
const CONTROL =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
  /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufdd0-\ufdef\ufeff\ufff9-\ufffb\uffff]/g;
/** Where a text is about HTML or shows code, tags are its subject. */
const ABOUT_HTML = /`|\bhtml\b|标签/i;

/** A text without what a crawl or an export left in it, and what that was. */
export interface Cleaned {
  text: string;
  /** Of `broken Unicode`, `html`, `control characters`, `stray blanks`. */
  removed: string[];
}

/**
 * Puts right UTF-8 that was read as another encoding, composes Unicode (NFC), takes out remains of HTML, control and
 * invisible characters, and blanks where lines end. Takes time in proportion to the text's length.
 */
export function clean(text: string): Cleaned {
  const removed: string[] = [];
  let now = text;
  const step = (name: string, next: (text: string) => string) => {
    const after = next(now);
    if (after !== now && !removed.includes(name)) removed.push(name);
    now = after;
  };
  step('broken Unicode', (value) => repairMojibake(value).normalize('NFC'));
  if (!ABOUT_HTML.test(text)) step('html', (value) => (/[<&]/.test(value) ? withoutHtml(value) : value));
  step('stray blanks', (value) => value.replace(/\r\n?|[\u2028\u2029]/g, '\n'));
  step('control characters', (value) => value.replace(CONTROL, ''));
  step('stray blanks', withoutStrayBlanks);
  return { text: now, removed };
}

/** No blanks at the ends of lines and of the text, and at most one empty line at a time. */
function withoutStrayBlanks(text: string): string {
  const lines = text.split('\n').map((line) => line.trimEnd());
  return lines
    .filter((line, i) => line !== '' || lines[i - 1] !== '')
    .join('\n')
    .trim();
}
