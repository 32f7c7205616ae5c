import { TemplateFormat } from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';
import { jinjaTemplate } from './jinja/template.ts';
import { simpleTemplate } from './simple-template.ts';
import type { Template } from './template.ts';

/** Characters of templates that are kept read. */
const MOST_KEPT = 4_000_000;
const known = new Map<string, Template>();
let kept = 0;

/**
 * Reads a template; one that was read before costs a look-up.
 * @param field for errors
 * @throws LandfallError INVALID_ARGUMENT where it can't be read
 */
export function readTemplate(format: TemplateFormat, text: string, field: string): Template {
  const key = `${format === TemplateFormat.JINJA ? 'j' : 's'}${text}`;
  const found = known.get(key);
  if (found) {
    known.delete(key);
    known.set(key, found);
    return found;
  }
  const read = format === TemplateFormat.JINJA ? jinjaTemplate(text, field) : simpleTemplate(text, field);
  known.set(key, read);
  kept += key.length;
  for (const oldest of known.keys()) {
    if (kept <= MOST_KEPT) break;
    known.delete(oldest);
    kept -= oldest.length;
  }
  return read;
}
