import { parse } from 'yaml';
import type { InspectedFile } from '../inspect/source.ts';

/** What a README.md says, as hubs read it. */
export type Readme = {
  /** Without the front matter. */
  text: string;
  /** SPDX identifier or the hub's word for it; '' where none is named. */
  license: string;
  tags: string[];
};

const NOTHING: Readme = { text: '', license: '', tags: [] };
const MAX_README_BYTES = 1024 * 1024;
/** Of the text; the rest is cut. */
const MAX_TEXT_LENGTH = 64 * 1024;
const MAX_TAGS = 64;
const FRONT_MATTER = /^\uFEFF?---\r?\n([\s\S]*?)\r?\n---[ \t]*(?:\r?\n|$)/;

/** Reads the README.md of a version. One that can't be read says nothing: a card is no condition for a model. */
export async function readReadme(files: readonly InspectedFile[]): Promise<Readme> {
  const file = files.find(({ path }) => /^readme\.md$/i.test(path));
  if (!file || file.sizeBytes > MAX_README_BYTES) return NOTHING;
  const bytes = Buffer.from(await file.read(0, file.sizeBytes));
  return parseReadme(bytes.toString('utf8'));
}

export function parseReadme(content: string): Readme {
  const match = FRONT_MATTER.exec(content);
  const text = content
    .slice(match?.[0].length ?? 0)
    .replaceAll('\0', '')
    .slice(0, MAX_TEXT_LENGTH)
    .trim();
  const data = match ? parseFrontMatter(match[1]!) : {};
  const [license = ''] = wordsOf(data.license === 'other' ? data.license_name : data.license);
  const tags = [data.tags, data.language, data.pipeline_tag].flatMap(wordsOf);
  return { text, license, tags: [...new Set(tags.map((tag) => tag.toLowerCase()))].slice(0, MAX_TAGS) };
}

function parseFrontMatter(text: string): Record<string, unknown> {
  try {
    // No aliases: a few lines of them can stand for more than memory holds.
    const data: unknown = parse(text, { maxAliasCount: 0, logLevel: 'silent' });
    return typeof data === 'object' && data !== null && !Array.isArray(data) ? { ...data } : {};
  } catch {
    return {};
  }
}

/** A word or a list of them; anything else says nothing. */
function wordsOf(value: unknown): string[] {
  const values: unknown[] = Array.isArray(value) ? value : [value];
  return values.filter(
    (word): word is string => typeof word === 'string' && /^[^\p{C}]{1,64}$/u.test(word.trim()),
  );
}
