// Cuts a JSON array or JSON lines into rows as its bytes arrive, so that a file of any size takes the memory of its
// longest row, and one broken row leaves the others readable.

/** A row's text, or what keeps it from being one. */
export type RawRow =
  | { row: number; text: string }
  | { row: number; code: 'malformed_json' | 'encoding' | 'too_long'; message: string };

const [QUOTE, BACKSLASH, COMMA, NEWLINE, OPEN_ARRAY] = [0x22, 0x5c, 0x2c, 0x0a, 0x5b];
const BLANKS = new Set([0x20, 0x09, 0x0a, 0x0d]);
const OPENING = new Set([0x5b, 0x7b]);
const CLOSING = new Set([0x5d, 0x7d]);

/** A data file's bytes as they come. */
export interface DataFile {
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
  /** Whether its name says that each line is a row. */
  jsonLines: boolean;
}

/**
 * Rows of a data file. Without `jsonLines` it is an array when its first character is `[`, lines otherwise (many
 * `.json` files hold lines). Row numbers are from 1: elements of the array, or lines, blank ones counted but not
 * yielded.
 *
 * @param maxRowBytes a longer row is dropped and reported
 */
export async function* readRows(
  { chunks, jsonLines }: DataFile,
  maxRowBytes: number,
): AsyncGenerator<RawRow> {
  let cutter: Cutter | undefined;
  let head: Uint8Array = new Uint8Array(0);
  for await (const chunk of chunks) {
    let bytes: Uint8Array = chunk;
    if (!cutter) {
      head = head.length > 0 ? Buffer.concat([head, chunk]) : chunk;
      const start = contentStart(head);
      if (start >= head.length) continue;
      const array = !jsonLines && head[start] === OPEN_ARRAY;
      cutter = array ? new ArrayCutter(maxRowBytes) : new LineCutter(maxRowBytes);
      // Blank lines at the beginning are lines too; only a byte order mark is no content.
      bytes = array ? head.subarray(start + 1) : head.subarray(hasByteOrderMark(head) ? 3 : 0);
    }
    yield* cutter.push(bytes);
  }
  if (cutter) yield* cutter.end();
}

function hasByteOrderMark(bytes: Uint8Array): boolean {
  return bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf;
}

function contentStart(bytes: Uint8Array): number {
  let at = hasByteOrderMark(bytes) ? 3 : 0;
  // A mark that has not arrived whole is waited for.
  if (bytes[0] === 0xef && bytes.length < 3) return bytes.length;
  while (at < bytes.length && BLANKS.has(bytes[at]!)) at++;
  return at;
}

abstract class Cutter {
  #parts: Uint8Array[] = [];
  #length = 0;
  #row = 0;
  readonly #maxRowBytes: number;

  constructor(maxRowBytes: number) {
    this.#maxRowBytes = maxRowBytes;
  }

  abstract push(bytes: Uint8Array): Iterable<RawRow>;
  abstract end(): Iterable<RawRow>;

  protected hold(part: Uint8Array): void {
    this.#length += part.length;
    if (this.#length <= this.#maxRowBytes) this.#parts.push(part.slice());
    else this.#parts = [];
  }

  protected get held(): number {
    return this.#length;
  }

  protected nextRow(): number {
    return this.#row + 1;
  }

  protected take(): RawRow | undefined {
    const bytes = Buffer.concat(this.#parts);
    const length = this.#length;
    this.#parts = [];
    this.#length = 0;
    const row = ++this.#row;
    if (length > this.#maxRowBytes) {
      const message = `${length} bytes; a row holds at most ${this.#maxRowBytes}`;
      return { row, code: 'too_long', message };
    }
    try {
      const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes).trim();
      return text === '' ? undefined : { row, text };
    } catch {
      return { row, code: 'encoding', message: 'not UTF-8; save the file as UTF-8' };
    }
  }
}

class LineCutter extends Cutter {
  override *push(bytes: Uint8Array): Generator<RawRow> {
    let start = 0;
    for (let end = bytes.indexOf(NEWLINE); end >= 0; end = bytes.indexOf(NEWLINE, start)) {
      this.hold(bytes.subarray(start, end));
      const row = this.take();
      if (row) yield row;
      start = end + 1;
    }
    this.hold(bytes.subarray(start));
  }

  override *end(): Generator<RawRow> {
    const row = this.held > 0 ? this.take() : undefined;
    if (row) yield row;
  }
}

class ArrayCutter extends Cutter {
  #depth = 1;
  #inString = false;
  #escaped = false;
  #commas = 0;
  #closed = false;
  #trailing = false;

  override *push(bytes: Uint8Array): Generator<RawRow> {
    let start = 0;
    for (let at = 0; at < bytes.length; at++) {
      const byte = bytes[at]!;
      if (this.#closed) {
        this.#trailing ||= !BLANKS.has(byte);
        start = at + 1;
      } else if (this.#escaped) this.#escaped = false;
      else if (this.#inString) {
        if (byte === BACKSLASH) this.#escaped = true;
        else if (byte === QUOTE) this.#inString = false;
      } else if (byte === QUOTE) this.#inString = true;
      else if (OPENING.has(byte)) this.#depth++;
      else if (byte === COMMA && this.#depth === 1) {
        this.hold(bytes.subarray(start, at));
        start = at + 1;
        this.#commas++;
        yield* this.#element();
      } else if (CLOSING.has(byte) && --this.#depth === 0) {
        this.hold(bytes.subarray(start, at));
        start = at + 1;
        this.#closed = true;
        // `[]` has no element, `[{},]` has an empty one that JSON does not allow.
        yield* this.#element(this.#commas === 0);
      }
    }
    this.hold(bytes.subarray(start));
  }

  override *end(): Generator<RawRow> {
    if (!this.#closed) {
      // What follows an unclosed string or bracket is one row to the reader; the rest can't be told apart.
      const row = this.nextRow();
      yield { row, code: 'malformed_json', message: 'the array is not closed from this row on' };
    } else if (this.#trailing) {
      yield { row: this.nextRow(), code: 'malformed_json', message: 'there is text behind the array' };
    }
  }

  *#element(mayBeEmpty = false): Generator<RawRow> {
    const row = this.nextRow();
    const taken = this.take();
    if (taken) yield taken;
    else if (!mayBeEmpty) yield { row, code: 'malformed_json', message: 'nothing between two commas' };
  }
}
