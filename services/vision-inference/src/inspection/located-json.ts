/** A value of a JSON text, and where it stands in it, in UTF-16 code units. */
export interface Located {
  start: number;
  end: number;
  value: string | number | boolean | null | Located[] | Map<string, Located>;
}

const STRING = /"(?:[^"\\]|\\.)*"/y;
const SCALAR = /true|false|null|-?\d[\d.eE+-]*/y;
const DEEPEST = 16;

/**
 * Reads a JSON text with the place of each value.
 * @throws SyntaxError for what is no JSON, or nested deeper than any answer here
 */
export function locate(text: string): Located {
  // JSON.parse is the judge of the grammar: what follows may trust it.
  JSON.parse(text);
  let at = 0;
  const skip = () => {
    while (/[\s,:]/.test(text.charAt(at))) at++;
  };
  const take = (pattern: RegExp): string => {
    pattern.lastIndex = at;
    const found = pattern.exec(text)![0];
    at += found.length;
    return found;
  };
  const read = (depth: number): Located => {
    if (depth > DEEPEST) throw new SyntaxError(`nested more than ${DEEPEST} deep`);
    skip();
    const start = at;
    const first = text.charAt(at);
    let value: Located['value'];
    if (first === '{' || first === '[') {
      at++;
      value = first === '{' ? members(depth) : items(depth);
      at++;
    } else {
      value = JSON.parse(take(first === '"' ? STRING : SCALAR));
    }
    return { start, end: at, value };
  };
  const items = (depth: number): Located[] => {
    const list: Located[] = [];
    for (skip(); text.charAt(at) !== ']'; skip()) list.push(read(depth + 1));
    return list;
  };
  const members = (depth: number): Map<string, Located> => {
    const map = new Map<string, Located>();
    for (skip(); text.charAt(at) !== '}'; skip()) {
      const name = JSON.parse(take(STRING)) as string;
      map.set(name, read(depth + 1));
    }
    return map;
  };
  return read(0);
}
