/** Sets of Unicode code points as sorted, disjoint, inclusive ranges. */

export type CodePoints = readonly (readonly [low: number, high: number])[];

const LAST = 0x10ffff;

export function union(...sets: CodePoints[]): CodePoints {
  const sorted = sets.flat().sort((a, b) => a[0] - b[0]);
  const merged: [number, number][] = [];
  for (const [low, high] of sorted) {
    const last = merged.at(-1);
    if (last && low <= last[1] + 1) last[1] = Math.max(last[1], high);
    else merged.push([low, high]);
  }
  return merged;
}

export function complement(set: CodePoints): CodePoints {
  const gaps: [number, number][] = [];
  let next = 0;
  for (const [low, high] of set) {
    if (low > next) gaps.push([next, low - 1]);
    next = high + 1;
  }
  if (next <= LAST) gaps.push([next, LAST]);
  return gaps;
}

export function without(set: CodePoints, taken: CodePoints): CodePoints {
  return complement(union(complement(set), taken));
}

export function single(codePoint: number): CodePoints {
  return [[codePoint, codePoint]];
}

export const ANY: CodePoints = [[0, LAST]];
export const DIGIT: CodePoints = [[48, 57]];
export const WORD: CodePoints = [
  [48, 57],
  [65, 90],
  [95, 95],
  [97, 122],
];
/** What JavaScript's `\s` matches. */
export const SPACE: CodePoints = [
  [9, 13],
  [32, 32],
  [0xa0, 0xa0],
  [0x1680, 0x1680],
  [0x2000, 0x200a],
  [0x2028, 0x2029],
  [0x202f, 0x202f],
  [0x205f, 0x205f],
  [0x3000, 0x3000],
  [0xfeff, 0xfeff],
];
/** What a dot matches. */
export const DOT = complement([
  [10, 10],
  [13, 13],
  [0x2028, 0x2029],
]);

let everything: string | undefined;
const properties = new Map<string, CodePoints>();
const MOST_PROPERTIES = 64;

/** Code points of a Unicode property as `\p{...}` names it, by the runtime's own tables; undefined for unknown names. */
export function property(name: string): CodePoints | undefined {
  const known = properties.get(name);
  if (known) return known;
  if (!/^[A-Za-z_]+(=[A-Za-z_]+)?$/.test(name)) return undefined;
  let pattern: RegExp;
  try {
    pattern = new RegExp(`\\p{${name}}+`, 'gu');
  } catch {
    return undefined;
  }
  everything ??= allCodePoints();
  const found: [number, number][] = [];
  for (const match of everything.matchAll(pattern)) {
    const text = match[0];
    const last = text.codePointAt(text.length - 1)!;
    // The last unit is a low surrogate beyond the basic plane.
    const high = last >= 0xdc00 && last <= 0xdfff ? text.codePointAt(text.length - 2)! : last;
    found.push([text.codePointAt(0)!, high]);
  }
  // Runs are over a string without surrogates: one across them is cut when it becomes UTF-8.
  if (properties.size >= MOST_PROPERTIES) properties.delete(properties.keys().next().value!);
  properties.set(name, found);
  return found;
}

/** Every code point but the surrogates, in order. */
function allCodePoints(): string {
  const parts: string[] = [];
  const size = 0x1000;
  for (let start = 0; start <= LAST; start += size) {
    const points = Array.from({ length: size }, (_, i) => start + i).filter((c) => c < 0xd800 || c > 0xdfff);
    parts.push(String.fromCodePoint(...points));
  }
  return parts.join('');
}
