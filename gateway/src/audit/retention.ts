import { unlinkSync } from 'node:fs';
import type { AuditLog } from './audit-log.ts';
import { type ChainLine, readLine } from './chain.ts';
import { linesOf, segmentsOf } from './segments.ts';

/**
 * Drops whole segments whose last line is older than `beforeMs`, oldest first, each behind a signed checkpoint that
 * names its lines and the hash that the chain goes on from. The newest two always stay.
 * @returns the number of the last line that was dropped; 0 where none was
 */
export async function dropSegments(log: AuditLog, beforeMs: number): Promise<number> {
  let dropped = 0;
  for (const { path, first } of segmentsOf(log.folder).slice(0, -2)) {
    const last = await lastLine(path);
    if (!last || last.timeMs >= beforeMs) break;
    await log.vouchDropped({ first, last: last.seq, hash: last.hash });
    unlinkSync(path);
    dropped = last.seq;
  }
  return dropped;
}

async function lastLine(path: string): Promise<ChainLine | undefined> {
  let last: Buffer | undefined;
  for await (const { bytes } of linesOf(path)) last = bytes;
  return last && readLine(last);
}
