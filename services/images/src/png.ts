import { crc32 } from 'node:zlib';
import { broken } from './errors.ts';
import type { ImageHeader } from './header.ts';

const SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);

/** Ancillary chunks that say how the pixels look; texts, times and the rest, which may unpack to anything, do not. */
const LOOKS = new Set(['tRNS', 'gAMA', 'cHRM', 'sRGB', 'sBIT', 'iCCP', 'eXIf', 'pHYs']);
/** Of a chunk that says how pixels look; an ICC profile of a camera has a few KiB. */
const MAX_LOOKS = 256 * 1024;

interface Chunk {
  type: string;
  from: number;
  end: number;
}

/** Header of a PNG (ISO/IEC 15948), undefined for other types. @throws ImageError */
export function pngHeader(data: Buffer): ImageHeader | undefined {
  if (!data.subarray(0, 8).equals(SIGNATURE)) return undefined;
  const chunks = readChunks(data);
  const first = chunks.next().value;
  if (first?.type !== 'IHDR' || first.end - first.from !== 25) throw broken('a PNG begins with its header');
  let frames = 1;
  let last = '';
  for (const { type, from, end } of chunks) {
    if (type === 'acTL' && end - from >= 16) frames = data.readUInt32BE(from + 8);
    last = type;
  }
  if (last !== 'IEND') throw broken('it ends before its end, as after a transfer that was cut off');
  return {
    mediaType: 'image/png',
    width: data.readUInt32BE(first.from + 8),
    height: data.readUInt32BE(first.from + 12),
    frames,
  };
}

/**
 * A PNG with nothing but its pixels and how they look, so that a decoder meets no compressed text, which may be a
 * thousand times as large unpacked. @throws ImageError
 */
export function onlyPixels(data: Buffer): Buffer {
  const kept: Buffer[] = [data.subarray(0, 8)];
  for (const { type, from, end } of readChunks(data)) {
    if (pngLooks(type, end - from)) kept.push(data.subarray(from, end));
  }
  return Buffer.concat(kept);
}

/**
 * Whether a chunk of so many bytes is pixels or how they look. A capital first letter is a chunk that must be
 * understood.
 */
export const pngLooks = (type: string, bytes: number): boolean =>
  type.charCodeAt(0) < 0x60 || (LOOKS.has(type) && bytes <= MAX_LOOKS);

/** A chunk with its length and checksum. */
export function pngChunk(type: string, data: Buffer): Buffer {
  const out = Buffer.alloc(data.length + 12);
  out.writeUInt32BE(data.length);
  out.write(type, 4, 'latin1');
  data.copy(out, 8);
  out.writeUInt32BE(crc32(out.subarray(4, -4)), out.length - 4);
  return out;
}

/** Chunks from the header to the end mark. @throws ImageError */
export function* readChunks(data: Buffer): Generator<Chunk, undefined> {
  let from = 8;
  while (from + 12 <= data.length) {
    const end = from + 12 + data.readUInt32BE(from);
    const type = data.toString('latin1', from + 4, from + 8);
    if (end > data.length) throw broken('it ends within a chunk, as after a transfer that was cut off');
    yield { type, from, end };
    if (type === 'IEND') return;
    from = end;
  }
}
