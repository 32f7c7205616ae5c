import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Content by name. */
export type Files = Map<string, Buffer>;

/** One thing that is wrong, and what its errors must name. */
export interface Malformed {
  /** What was done, with the numbers that were drawn. */
  what: string;
  kind: 'base' | 'adapter' | 'dataset';
  files: Files;
  /** What the training engine says. */
  engine: RegExp;
  /** What the registry says when it is committed; absent where it leaves the matter to the engine. */
  registry?: RegExp;
}

/** Random choices of one run. */
export interface Draw {
  /** A whole number from `low` to `high`, both included. */
  between(low: number, high: number): number;
  of<T>(list: readonly T[]): T;
}

export function drawOf(random: () => number): Draw {
  const between = (low: number, high: number) => low + Math.floor(random() * (high - low + 1));
  return { between, of: (list) => list[between(0, list.length - 1)]! };
}

/** All files of a flat folder. */
export const filesOf = (folder: string): Files =>
  new Map(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name))]));

/** Some files changed, added, or with undefined left out. */
export function changed(files: Files, changes: Record<string, Buffer | string | undefined>): Files {
  const result = new Map(files);
  for (const [name, content] of Object.entries(changes)) {
    if (content === undefined) result.delete(name);
    else result.set(name, Buffer.from(content));
  }
  return result;
}

/** A tensor as a header describes it; loosely typed, since much of it will lie. */
// biome-ignore lint/suspicious/noExplicitAny: a header that lies may hold anything.
export type Header = Record<string, any>;

/** A safetensors file taken apart. */
export function parted(file: Buffer): { header: Header; data: Buffer } {
  const length = Number(file.readBigUInt64LE());
  const header = JSON.parse(file.toString('utf8', 8, 8 + length)) as Header;
  return { header, data: file.subarray(8 + length) };
}

/** A safetensors file of any header, however wrong. */
export function joined(header: Header | Buffer, data: Buffer): Buffer {
  const text = Buffer.isBuffer(header) ? header : Buffer.from(JSON.stringify(header));
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([size, text, data]);
}

/** Takes a tensor out of a file, so that the file itself is whole. */
export function without(file: Buffer, name: string): Buffer {
  const { header, data } = parted(file);
  const parts: Buffer[] = [];
  const kept: Header = {};
  let offset = 0;
  for (const [tensor, entry] of Object.entries(header)) {
    if (tensor === name) continue;
    if (tensor === '__metadata__') kept[tensor] = entry;
    else {
      const [from, to] = entry.data_offsets as [number, number];
      parts.push(data.subarray(from, to));
      kept[tensor] = { ...entry, data_offsets: [offset, offset + to - from] };
      offset += to - from;
    }
  }
  return joined(kept, Buffer.concat(parts));
}

/** A text as a part of a pattern. */
export const literal = (text: string): string => RegExp.escape(text);
