import { statSync, truncateSync } from 'node:fs';
import { basename } from 'node:path';
import { type Head, origin, readLine } from './chain.ts';
import { linesOf, segmentsOf } from './segments.ts';

export interface Recovered {
  /** Where the chain goes on. */
  head: Head;
  /** Name of the segment that is gone on with, where its end is sound. */
  path?: string;
  /** Bytes of a line without an end that were cut off. */
  cutBytes: number;
}

/**
 * Finds where a shard's chain ends. A last line without its break was being written when the process died, so nobody
 * was told that it is kept: it is cut off. Any other fault is left for `audit verify` to find, in a segment that
 * nothing more is written to.
 */
export async function recover(folder: string, shard: string): Promise<Recovered> {
  const segments = segmentsOf(folder).reverse();
  let cutBytes = 0;
  for (const { path } of segments) {
    let head: Head | undefined;
    let sound = true;
    for await (const { bytes, offset, whole } of linesOf(path)) {
      if (!whole) {
        cutBytes = statSync(path).size - offset;
        truncateSync(path, offset);
        break;
      }
      const line = readLine(bytes);
      sound = line !== undefined;
      if (line) head = { seq: line.seq, hash: line.hash };
    }
    // Behind an empty segment, which the process had just begun, nothing is added to the one before.
    const mayGoOn = sound && path === segments[0]!.path;
    if (head) return { head, cutBytes, ...(mayGoOn ? { path: basename(path) } : {}) };
  }
  return { head: origin(shard), cutBytes };
}
