import { EXIF_MARK, exifOf, orientationIn } from './exif.ts';
import { readHeader } from './header.ts';
import { jpegSegments } from './jpeg.ts';
import { IMAGE_LIMITS, type ImageLimits } from './limits.ts';
import { pngChunk, pngLooks, readChunks } from './png.ts';
import { webpChunk, webpChunks } from './webp.ts';

/**
 * An image with the same compressed pixels, and nothing beside them but how they look: no EXIF but the orientation, no
 * XMP, IPTC, comments, texts of a PNG, thumbnails, nor bytes behind its end. The very same bytes where it has none of it.
 * @throws ImageError as readHeader
 */
export function bareImage(bytes: Uint8Array, limits: ImageLimits = IMAGE_LIMITS): Uint8Array {
  const { mediaType } = readHeader(bytes, limits);
  const data = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const bare = { 'image/jpeg': bareJpeg, 'image/png': barePng, 'image/webp': bareWebp }[mediaType](data);
  return bare.equals(data) ? bytes : bare;
}

const APP0 = 0xe0;
const APP1 = 0xe1;
const APP2 = 0xe2;
const APP14 = 0xee;
const APP15 = 0xef;
const COM = 0xfe;
const ICC = 'ICC_PROFILE\0';

function bareJpeg(data: Buffer): Buffer {
  let orientation = 1;
  const kept: Buffer[] = [];
  for (const { marker, from, end } of jpegSegments(data)) {
    const begins = (text: string) => data.toString('latin1', from + 4, from + 4 + text.length) === text;
    if (marker === APP1 && begins(EXIF_MARK) && orientation === 1)
      orientation = orientationIn(data.subarray(from + 4 + EXIF_MARK.length, end));
    const isApp = marker >= APP0 && marker <= APP15;
    const looks =
      (marker === APP0 && begins('JFIF\0')) ||
      (marker === APP2 && begins(ICC)) ||
      (marker === APP14 && begins('Adobe'));
    if ((!isApp || looks) && marker !== COM) kept.push(data.subarray(from, end));
  }
  if (orientation === 1) return Buffer.concat(kept);
  const exif = Buffer.concat([Buffer.from(EXIF_MARK, 'latin1'), exifOf(orientation)]);
  const segment = Buffer.from([0xff, APP1, 0, exif.length + 2]);
  return Buffer.concat([kept[0]!, segment, exif, ...kept.slice(1)]);
}

function barePng(data: Buffer): Buffer {
  const kept: Buffer[] = [data.subarray(0, 8)];
  for (const { type, from, end } of readChunks(data)) {
    if (type === 'eXIf') {
      const orientation = orientationIn(data.subarray(from + 8, end - 4));
      if (orientation !== 1) kept.push(pngChunk('eXIf', exifOf(orientation)));
    } else if (pngLooks(type, end - from)) kept.push(data.subarray(from, end));
  }
  return Buffer.concat(kept);
}

/** What a WebP shows; the rest is EXIF, XMP and what nobody knows. */
const SHOWN = new Set(['VP8X', 'VP8 ', 'VP8L', 'ALPH', 'ICCP', 'ANIM', 'ANMF']);
/** Flags of VP8X. */
const HAS_EXIF = 0x08;
const HAS_XMP = 0x04;

function bareWebp(data: Buffer): Buffer {
  const chunks = [...webpChunks(data)];
  const exif = chunks.find(({ type }) => type === 'EXIF');
  const orientation = exif ? orientationIn(withoutMark(data.subarray(exif.from, exif.end))) : 1;
  const kept = chunks
    .filter(({ type }) => SHOWN.has(type))
    .map(({ type, from, end }) => {
      const body = Buffer.from(data.subarray(from, end));
      if (type === 'VP8X') body[0] = (body[0]! & ~HAS_XMP & ~HAS_EXIF) | (orientation === 1 ? 0 : HAS_EXIF);
      return webpChunk(type, body);
    });
  if (orientation !== 1) kept.push(webpChunk('EXIF', exifOf(orientation)));
  return webpChunk('RIFF', Buffer.concat([Buffer.from('WEBP'), ...kept]));
}

/** Some encoders put a JPEG's mark before the EXIF of a WebP. */
const withoutMark = (exif: Buffer): Buffer =>
  exif.toString('latin1', 0, EXIF_MARK.length) === EXIF_MARK ? exif.subarray(EXIF_MARK.length) : exif;
