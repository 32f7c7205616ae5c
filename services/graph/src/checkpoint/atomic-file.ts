import { randomUUID } from 'node:crypto';
import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';

/** One call of the system takes less than 2 GiB. */
const WRITE_BYTES = 2 ** 30;

/**
 * Writes a file so that it is there whole or not at all, also after a loss of power: aside, synced, moved into place,
 * and the folder synced. Threads and processes that write the same file at the same time do not meet. What was written
 * aside is taken away when writing fails.
 * @param chunks the content in order; each is asked for when the one before is written
 */
export function writeFileAtomically(file: string, chunks: Iterable<Uint8Array>): void {
  const aside = `${file}.${randomUUID()}.tmp`;
  try {
    const fd = openSync(aside, 'wx', 0o600);
    try {
      for (const chunk of chunks) {
        for (let done = 0; done < chunk.length; )
          done += writeSync(fd, chunk, done, Math.min(chunk.length - done, WRITE_BYTES));
      }
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(aside, file);
  } catch (error) {
    rmSync(aside, { force: true });
    throw error;
  }
  syncFolder(dirname(file));
}

/** JSON as people read it, written as writeFileAtomically does. */
export function writeJsonAtomically(file: string, value: unknown): void {
  writeFileAtomically(file, [Buffer.from(`${JSON.stringify(value, null, 2)}\n`)]);
}

function syncFolder(folder: string): void {
  const fd = openSync(folder, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
