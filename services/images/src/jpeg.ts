import { broken } from './errors.ts';
import type { ImageHeader } from './header.ts';

/** Progressive images have about ten; each makes a decoder walk over all coefficients again. */
const MAX_SCANS = 100;

const SOI = 0xd8;
const EOI = 0xd9;
const SOS = 0xda;
/** Baseline, extended and progressive, by Huffman codes. */
const FRAMES = new Set([0xc0, 0xc1, 0xc2]);
/** Lossless, hierarchical and by arithmetic codes; 0xc4, 0xc8 and 0xcc are no frames. */
const OTHER_FRAMES = new Set([0xc3, 0xc5, 0xc6, 0xc7, 0xc9, 0xca, 0xcb, 0xcd, 0xce, 0xcf]);

/** Header of a JPEG (ITU-T T.81), undefined for other types. @throws ImageError */
export function jpegHeader(data: Buffer): ImageHeader | undefined {
  if (data.length < 3 || data[0] !== 0xff || data[1] !== SOI || data[2] !== 0xff) return undefined;
  let size: { width: number; height: number } | undefined;
  let scans = 0;
  for (const { marker, from, end } of jpegSegments(data)) {
    if (OTHER_FRAMES.has(marker))
      throw broken('it is a lossless, hierarchical or arithmetic JPEG, which is not read');
    if (FRAMES.has(marker)) {
      if (size || end - from < 10) throw broken('its header is not one of a JPEG');
      size = { height: data.readUInt16BE(from + 5), width: data.readUInt16BE(from + 7) };
    }
    if (marker === SOS && ++scans > MAX_SCANS) throw broken(`it has more than ${MAX_SCANS} scans`);
  }
  if (!size) throw broken('it ends before it says its size');
  return { mediaType: 'image/jpeg', ...size, frames: 1 };
}

interface Segment {
  marker: number;
  from: number;
  end: number;
}

/** Segments of a JPEG from its first mark to its last; a scan's codes are part of its segment. @throws ImageError */
export function* jpegSegments(data: Buffer): Generator<Segment> {
  yield { marker: SOI, from: 0, end: 2 };
  for (let at = 2; ; ) {
    const marker = data[at + 1];
    if (data[at] !== 0xff || marker === undefined) throw broken('a JPEG has a marker where this has none');
    if (marker === 0xff) {
      // Fill bytes.
      at++;
      continue;
    }
    if (marker === EOI) {
      yield { marker, from: at, end: at + 2 };
      return;
    }
    if (at + 4 > data.length) throw broken('it ends within its header, as after a transfer that was cut off');
    const end = at + 2 + data.readUInt16BE(at + 2);
    if (end > data.length) throw broken('it ends within a segment, as after a transfer that was cut off');
    const next = marker === SOS ? endOfScan(data, end) : end;
    // Decoders make up what is missing. It is said here, so that who reads headers alone refuses it as well.
    if (next < 0) throw broken('it ends before its end mark, as after a transfer that was cut off');
    yield { marker, from: at, end: next };
    at = next;
  }
}

/** Where the next marker stands that is neither a stuffed byte nor a restart; -1 for none. */
function endOfScan(data: Buffer, from: number): number {
  for (let at = data.indexOf(0xff, from); at >= 0; at = data.indexOf(0xff, at + 1)) {
    const next = data[at + 1];
    if (next === undefined) return -1;
    if (next !== 0 && next !== 0xff && !(next >= 0xd0 && next <= 0xd7)) return at;
  }
  return -1;
}
