/** A row of a data file: its number from 1, and its text or what is wrong with it. */
export type Row = { number: number; text: string } | { number: number; problem: string };

const NEWLINE = 0x0a;
const SPACE = new Set([0x20, 0x09, 0x0a, 0x0d]);
const [QUOTE, ESCAPE, COMMA] = [0x22, 0x5c, 0x2c];
const [OPEN, CLOSE] = [new Set([0x5b, 0x7b]), new Set([0x5d, 0x7d])];
const BYTE_ORDER_MARK = [0xef, 0xbb, 0xbf];

/**
 * Collects the bytes of one row at a time, so that a file of any size is read in the memory of its longest row. A
 * row above the limit is counted and dropped.
 */
class RowBuffer {
  #parts: Uint8Array[] = [];
  #length = 0;
  #number = 0;
  #limitBytes: number;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  get empty(): boolean {
    return this.#length === 0;
  }

  add(part: Uint8Array): void {
    this.#length += part.length;
    if (this.#length <= this.#limitBytes) this.#parts.push(part);
    else this.#parts = [];
  }

  /** The row so far; undefined when it is blank. */
  take(countBlank: boolean): Row | undefined {
    const length = this.#length;
    const bytes = Buffer.concat(this.#parts);
    this.#parts = [];
    this.#length = 0;
    this.#number++;
    const number = this.#number;
    if (length > this.#limitBytes) return { number, problem: `longer than ${this.#limitBytes} bytes` };
    try {
      const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes).trim();
      if (text !== '') return { number, text };
      return countBlank ? { number, problem: 'empty' } : undefined;
    } catch {
      return { number, problem: 'not UTF-8' };
    }
  }
}

/** Rows of JSON lines; blank lines are left out and still counted, so that numbers are those of an editor. */
export async function* readJsonLines(
  chunks: AsyncIterable<Uint8Array>,
  limitBytes: number,
): AsyncGenerator<Row> {
  const row = new RowBuffer(limitBytes);
  for await (const chunk of chunks) {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      row.add(chunk.subarray(start, end));
      const taken = row.take(false);
      if (taken) yield taken;
      start = end + 1;
    }
    if (start < chunk.length) row.add(chunk.subarray(start));
  }
  if (!row.empty) {
    const taken = row.take(false);
    if (taken) yield taken;
  }
}

/** Thrown when a file is not one JSON array. */
export class NotAnArrayError extends Error {}

/** Elements of a JSON array, cut at the commas of the outermost level. Throws NotAnArrayError at what is around. */
export async function* readJsonArray(
  chunks: AsyncIterable<Uint8Array>,
  limitBytes: number,
): AsyncGenerator<Row> {
  const row = new RowBuffer(limitBytes);
  let [depth, inString, escaped, rows, closed, seen] = [0, false, false, 0, false, 0];
  for await (const chunk of chunks) {
    let start = 0;
    for (let at = 0; at < chunk.length; at++) {
      const byte = chunk[at]!;
      if (depth === 0) {
        const mark = seen < 3 && byte === BYTE_ORDER_MARK[seen];
        seen++;
        if (SPACE.has(byte) || mark) continue;
        if (closed) throw new NotAnArrayError('there is text behind the array');
        if (byte !== 0x5b) throw new NotAnArrayError("it does not begin with '['");
        depth = 1;
        start = at + 1;
      } else if (escaped) {
        escaped = false;
      } else if (inString) {
        if (byte === ESCAPE) escaped = true;
        else if (byte === QUOTE) inString = false;
      } else if (byte === QUOTE) {
        inString = true;
      } else if (OPEN.has(byte)) {
        depth++;
      } else if (byte === COMMA && depth === 1) {
        row.add(chunk.subarray(start, at));
        start = at + 1;
        rows++;
        yield row.take(true)!;
      } else if (CLOSE.has(byte) && --depth === 0) {
        row.add(chunk.subarray(start, at));
        closed = true;
        const last = row.take(rows > 0);
        if (last) yield last;
      }
    }
    if (depth > 0) row.add(chunk.subarray(start));
  }
  if (!closed) throw new NotAnArrayError('it ends before the array does');
}
