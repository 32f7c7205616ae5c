import { closeSync, openSync, readSync, writeSync } from 'node:fs';

const PENDING_BYTES = 1024 * 1024;

/** Lines in a scratch file, written one after the other and read in any order, so that no data set is held in memory. */
export class RowStore implements Disposable {
  readonly #file: number;
  /** Where each line ends, in bytes from the start. */
  readonly #ends: number[] = [];
  #pending: Buffer[] = [];
  #pendingBytes = 0;
  #written = 0;

  /** @param file must not exist yet */
  constructor(file: string) {
    this.#file = openSync(file, 'wx+');
  }

  get size(): number {
    return this.#ends.length;
  }

  /** @returns the line's number, from 0 */
  add(line: string): number {
    const bytes = Buffer.from(line);
    this.#pending.push(bytes);
    this.#pendingBytes += bytes.length;
    this.#ends.push(this.#written + this.#pendingBytes);
    if (this.#pendingBytes >= PENDING_BYTES) this.#flush();
    return this.#ends.length - 1;
  }

  read(index: number): string {
    const start = index > 0 ? this.#ends[index - 1]! : 0;
    const end = this.#ends[index]!;
    if (end > this.#written) this.#flush();
    const bytes = Buffer.allocUnsafe(end - start);
    for (let at = 0; at < bytes.length; ) {
      const read = readSync(this.#file, bytes, at, bytes.length - at, start + at);
      if (read === 0) throw new Error('a scratch file of the preparation was cut short');
      at += read;
    }
    return bytes.toString();
  }

  [Symbol.dispose](): void {
    closeSync(this.#file);
  }

  #flush(): void {
    const bytes = Buffer.concat(this.#pending);
    for (let at = 0; at < bytes.length; ) {
      at += writeSync(this.#file, bytes, at, bytes.length - at, this.#written + at);
    }
    this.#written += bytes.length;
    this.#pending = [];
    this.#pendingBytes = 0;
  }
}
