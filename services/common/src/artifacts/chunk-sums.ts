import { createHash, type Hash } from 'node:crypto';

/** Content is checked in pieces of this size when parts of it are read. */
export const SUM_CHUNK_BYTES = 1024 * 1024;
const SUM_BYTES = 32;

/**
 * The sha256 of every MiB of a content, one behind the other, 32 bytes each. With them a part can be checked without
 * reading the whole. A content of one piece needs none: its digest is the sum.
 */
export class ChunkSums {
  readonly #sums: Buffer[] = [];
  #hash: Hash = createHash('sha256');
  #filled = 0;

  /** Takes the next bytes of the content. */
  update(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) {
      const part = bytes.subarray(at, at + SUM_CHUNK_BYTES - this.#filled);
      this.#hash.update(part);
      this.#filled += part.length;
      at += part.length;
      if (this.#filled === SUM_CHUNK_BYTES) this.#next();
    }
  }

  /** The sums of all that was taken. */
  finish(): Buffer {
    if (this.#filled > 0) this.#next();
    return Buffer.concat(this.#sums);
  }

  #next(): void {
    this.#sums.push(this.#hash.digest());
    this.#hash = createHash('sha256');
    this.#filled = 0;
  }
}

/** Whether sums can be those of a content of this size. */
export function sumsFit(sums: Uint8Array, sizeBytes: number): boolean {
  return sums.length === Math.ceil(sizeBytes / SUM_CHUNK_BYTES) * SUM_BYTES;
}

/** Whether bytes that begin with piece `first` of a content are what its sums say. */
export function sumsAgree(sums: Uint8Array, first: number, bytes: Uint8Array): boolean {
  for (let at = 0, index = first; at < bytes.length; at += SUM_CHUNK_BYTES, index++) {
    const sum = createHash('sha256')
      .update(bytes.subarray(at, at + SUM_CHUNK_BYTES))
      .digest();
    if (!sum.equals(sums.subarray(index * SUM_BYTES, (index + 1) * SUM_BYTES))) return false;
  }
  return true;
}
