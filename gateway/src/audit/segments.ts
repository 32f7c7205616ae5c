import { createReadStream, existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';

/** A file of lines in order, named after the number of its first. */
export interface Segment {
  path: string;
  first: number;
}

const NAME = /^(\d{16})\.jsonl$/;
export const CHECKPOINTS = 'checkpoints.jsonl';

export const segmentName = (first: number): string => `${String(first).padStart(16, '0')}.jsonl`;

/** Segments of a shard's folder, oldest first. */
export function segmentsOf(folder: string): Segment[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .map((name) => ({ path: join(folder, name), first: Number(NAME.exec(name)?.[1] ?? Number.NaN) }))
    .filter(({ first }) => !Number.isNaN(first))
    .sort((a, b) => a.first - b.first);
}

/** Folders of shards below a log's folder, by name. */
export function shardsOf(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder).filter((name) => {
    const path = join(folder, name);
    return (
      statSync(path).isDirectory() && (segmentsOf(path).length > 0 || existsSync(join(path, CHECKPOINTS)))
    );
  });
}

/** A line's bytes without its break, where it begins, and whether a break ended it. */
export interface RawLine {
  bytes: Buffer;
  offset: number;
  whole: boolean;
}

/** The lines of a file from a place on, read piece by piece: a log is larger than the memory. */
export async function* linesOf(path: string, start = 0): AsyncGenerator<RawLine> {
  let rest: Buffer = Buffer.alloc(0);
  let offset = start;
  for await (const chunk of createReadStream(path, {
    start,
    highWaterMark: 1 << 20,
  }) as AsyncIterable<Buffer>) {
    const data = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    let from = 0;
    for (let at = data.indexOf(10); at >= 0; at = data.indexOf(10, from)) {
      yield { bytes: data.subarray(from, at), offset, whole: true };
      offset += at + 1 - from;
      from = at + 1;
    }
    rest = data.subarray(from);
  }
  if (rest.length > 0) yield { bytes: rest, offset, whole: false };
}
