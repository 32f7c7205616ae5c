import { closeSync, openSync, writeSync } from 'node:fs';
import type { RowIssue } from '../data/issues.ts';

const PENDING_CHARACTERS = 64 * 1024;

/** Issues as a table (RFC 4180) that any spreadsheet opens. */
export class IssuesFile implements Disposable {
  readonly #file: number;
  #pending = 'row,code,message\r\n';

  constructor(file: string) {
    this.#file = openSync(file, 'w');
  }

  add({ row, code, message }: RowIssue): void {
    this.#pending += `${row},${code},"${message.replaceAll('"', '""')}"\r\n`;
    if (this.#pending.length >= PENDING_CHARACTERS) this.#flush();
  }

  [Symbol.dispose](): void {
    try {
      this.#flush();
    } finally {
      closeSync(this.#file);
    }
  }

  #flush(): void {
    const bytes = Buffer.from(this.#pending);
    for (let at = 0; at < bytes.length; ) at += writeSync(this.#file, bytes, at);
    this.#pending = '';
  }
}
