import { isWordAt } from './characters.ts';
import { type Facts, PLATE as MAY_BE_PLATE } from './facts.ts';
import type { Span } from './mask.ts';

/** Provinces' signs, the authority's letter, then five characters; new energy vehicles have six with a D or F kind of letter (GA 36-2018). */
const PLATE =
  /[京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼使领][A-HJ-NP-Z][ ·•・.-]?(?:[A-HJK][A-HJ-NP-Z0-9]\d{4}|\d{5}[A-HJK]|(?=[A-Z]*\d)[A-HJ-NP-Z0-9]{4}[A-HJ-NP-Z0-9挂学警港澳使领])/gi;

/**
 * Number plates of mainland China.
 *
 * @param text canonical
 */
export function findLicensePlates(text: string, { hints }: Facts): Span[] {
  if (!(hints & MAY_BE_PLATE)) return [];
  const found: Span[] = [];
  for (const { 0: written, index: start } of text.matchAll(PLATE)) {
    const end = start + written.length;
    if (!isWordAt(text, end)) found.push({ start, end });
  }
  return found;
}
