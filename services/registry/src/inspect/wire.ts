import type { ContentSource } from './source.ts';

/** Thrown when protobuf bytes do not read: truncated, or a length that points out of its message. */
export class WireError extends Error {}

/** A field of a message in the protobuf wire format: a number, or where its bytes lie. */
export type WireField = { number: number; value: bigint } | { number: number; start: number; end: number };

const WINDOW_BYTES = 64 * 1024;
/** A tag and a length or a number: two varints of at most ten bytes. */
const LONGEST_PREFIX = 20;
/** More fields than any real model has; what holds more was made to burn time. */
const MAX_FIELDS = 10_000_000;

/**
 * Reads protobuf messages out of a file of any size without holding more of it than one window, so that gigabytes
 * of weights inside a message cost a jump. Nothing is trusted: each length is held against its own message's end.
 */
export class WireReader {
  #source: ContentSource;
  #window: Uint8Array = new Uint8Array();
  #windowStart = 0;
  #fieldsLeft = MAX_FIELDS;

  constructor(source: ContentSource) {
    this.#source = source;
  }

  /** The fields of the message in [start, end). Throws WireError. */
  async *fields(start: number, end: number): AsyncGenerator<WireField> {
    let at = start;
    while (at < end) {
      if (this.#fieldsLeft-- === 0) throw new WireError(`more than ${MAX_FIELDS} fields`);
      await this.#load(at, end);
      const tag = this.#varint(at, end);
      at = tag.next;
      const number = Number(tag.value >> 3n);
      const wireType = Number(tag.value & 7n);
      if (number < 1 || number > 0x1fffffff) throw new WireError(`field number ${number} at byte ${at}`);
      if (wireType === 0) {
        const { value, next } = this.#varint(at, end);
        yield { number, value };
        at = next;
      } else if (wireType === 2) {
        const { value, next } = this.#varint(at, end);
        if (value > BigInt(end - next))
          throw new WireError(`a field of ${value} bytes at byte ${next} is cut off`);
        at = next + Number(value);
        yield { number, start: next, end: at };
      } else if (wireType === 1 || wireType === 5) {
        at += wireType === 1 ? 8 : 4;
        if (at > end) throw new WireError(`a number at byte ${at} is cut off`);
      } else {
        throw new WireError(`wire type ${wireType} at byte ${at}`);
      }
    }
  }

  /** A field's bytes, refused above `limit`. Throws WireError. */
  async bytes(start: number, end: number, limit: number): Promise<Uint8Array> {
    if (end - start > limit)
      throw new WireError(`a field of ${end - start} bytes where ${limit} are allowed`);
    const bytes = await this.#source.read(start, end - start);
    if (bytes.length < end - start) throw new WireError('the file ends in a field');
    return bytes;
  }

  async #load(at: number, end: number): Promise<void> {
    const wanted = Math.min(LONGEST_PREFIX, end - at);
    if (at >= this.#windowStart && at + wanted <= this.#windowStart + this.#window.length) return;
    this.#window = await this.#source.read(at, Math.min(WINDOW_BYTES, this.#source.sizeBytes - at));
    this.#windowStart = at;
    if (this.#window.length < wanted) throw new WireError('the file ends in a field');
  }

  #varint(at: number, end: number): { value: bigint; next: number } {
    let value = 0n;
    for (let index = 0; index < 10 && at + index < end; index++) {
      const byte = this.#window[at + index - this.#windowStart]!;
      value |= BigInt(byte & 0x7f) << BigInt(7 * index);
      if (byte < 0x80) return { value: BigInt.asUintN(64, value), next: at + index + 1 };
    }
    throw new WireError(`a number at byte ${at} has no end`);
  }
}

/** The varints of a packed field. Throws WireError. */
export function packedVarints(bytes: Uint8Array): bigint[] {
  const values: bigint[] = [];
  let value = 0n;
  let shift = 0n;
  for (const byte of bytes) {
    if (shift > 63n) throw new WireError('a packed number has no end');
    value |= BigInt(byte & 0x7f) << shift;
    shift += 7n;
    if (byte < 0x80) {
      values.push(BigInt.asUintN(64, value));
      value = 0n;
      shift = 0n;
    }
  }
  if (shift > 0n) throw new WireError('a packed number has no end');
  return values;
}
