import { broken } from './errors.ts';
import type { ImageHeader } from './header.ts';

/** Header of a WebP (RFC 9649), undefined for other types. @throws ImageError */
export function webpHeader(data: Buffer): ImageHeader | undefined {
  const text = (from: number) => data.toString('latin1', from, from + 4);
  if (data.length < 12 || text(0) !== 'RIFF' || text(8) !== 'WEBP') return undefined;
  // The length of all that follows, padding included: a cut between two chunks would go unnoticed without it.
  if (8 + data.readUInt32LE(4) > data.length)
    throw broken('it has fewer bytes than it says, as after a transfer that was cut off');
  let size: { width: number; height: number } | undefined;
  let frames = 0;
  for (const { type, from, end } of webpChunks(data)) {
    const own = sizeOf(type, data.subarray(from, end));
    // The first says it for all: a canvas, or the only image.
    size ??= own;
    if (own && type !== 'VP8X' && own.width * own.height > size!.width * size!.height)
      throw broken('it holds more pixels than it says');
    if (type === 'ANMF') frames++;
  }
  if (!size) throw broken('it ends before it says its size');
  return { mediaType: 'image/webp', ...size, frames: Math.max(1, frames) };
}

/** Chunks of a WebP: their types, and where their bodies begin and end. @throws ImageError */
export function* webpChunks(data: Buffer): Generator<{ type: string; from: number; end: number }> {
  // What stands behind the length that the file says is no part of it.
  const last = 8 + data.readUInt32LE(4);
  for (let at = 12; at + 8 <= last; ) {
    const from = at + 8;
    const end = from + data.readUInt32LE(at + 4);
    if (end > last) throw broken('it ends within a chunk, as after a transfer that was cut off');
    yield { type: data.toString('latin1', at, at + 4), from, end };
    at = end + ((end - from) % 2);
  }
}

/** A chunk with its length and padding. */
export function webpChunk(type: string, body: Buffer): Buffer {
  const head = Buffer.alloc(8);
  head.write(type, 'latin1');
  head.writeUInt32LE(body.length, 4);
  return Buffer.concat([head, body, Buffer.alloc(body.length % 2)]);
}

function sizeOf(type: string, chunk: Buffer): { width: number; height: number } | undefined {
  if (type === 'VP8X' && chunk.length >= 10)
    return { width: chunk.readUIntLE(4, 3) + 1, height: chunk.readUIntLE(7, 3) + 1 };
  if (type === 'VP8 ' && chunk.length >= 10)
    return { width: chunk.readUInt16LE(6) & 0x3fff, height: chunk.readUInt16LE(8) & 0x3fff };
  if (type === 'VP8L' && chunk.length >= 5) {
    const bits = chunk.readUInt32LE(1);
    return { width: (bits & 0x3fff) + 1, height: ((bits >>> 14) & 0x3fff) + 1 };
  }
  return undefined;
}
