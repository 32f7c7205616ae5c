/**
 * The first name that stands twice in one object of a JSON text, which JSON.parse would hide by keeping the last;
 * undefined when every name is alone. Names are compared as they read, so that `"\u0061"` is `"a"`. One pass over the
 * text, whatever it holds.
 * @param text valid JSON
 */
export function repeatedKey(text: string): string | undefined {
  // Names of each object that is open; undefined for a list.
  const open: (Set<string> | undefined)[] = [];
  for (let at = 0; at < text.length; at++) {
    const c = text[at];
    if (c === '{') open.push(new Set());
    else if (c === '[') open.push(undefined);
    else if (c === '}' || c === ']') open.pop();
    if (c !== '"') continue;
    const end = stringEnd(text, at);
    if (isKey(text, end)) {
      const raw = text.slice(at, end);
      const name: string = raw.includes('\\') ? JSON.parse(raw) : raw.slice(1, -1);
      const names = open.at(-1)!;
      if (names.has(name)) return name;
      names.add(name);
    }
    at = end - 1;
  }
  return undefined;
}

/** Index after the closing quote of the string that begins at `at`. */
function stringEnd(text: string, at: number): number {
  for (at++; text[at] !== '"'; at++) if (text[at] === '\\') at++;
  return at + 1;
}

function isKey(text: string, at: number): boolean {
  while (text[at] === ' ' || text[at] === '\n' || text[at] === '\r' || text[at] === '\t') at++;
  return text[at] === ':';
}
