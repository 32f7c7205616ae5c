import { createHash } from 'node:crypto';
import type { Sharp } from 'sharp';
import { finish, open } from './decode.ts';
import type { MediaType } from './header.ts';
import { IMAGE_LIMITS, type ImageLimits } from './limits.ts';

/** An image as it is kept. */
export interface StoredImage {
  /** Upright, without EXIF, XMP, ICC, comments or thumbnails. */
  bytes: Uint8Array;
  mediaType: MediaType;
  width: number;
  height: number;
  /** `sha256:` and 64 hexadecimal digits, of the bytes. */
  digest: string;
}

/** What of a photograph's detail is kept: 95 and full chroma is beyond what eyes and towers tell apart. */
const LOSSY = { quality: 95, chromaSubsampling: '4:4:4' } as const;

const ENCODE: Record<MediaType, (image: Sharp) => Sharp> = {
  'image/png': (image) => image.png(),
  'image/jpeg': (image) => image.jpeg(LOSSY),
  'image/webp': (image) => image.webp({ lossless: true, effort: 1 }),
};

/**
 * Encodes an image anew in its own type, so that nothing but pixels is kept: no place, time, camera or person.
 * @throws ImageError as decodeImage
 */
export async function storedImage(
  bytes: Uint8Array,
  limits: ImageLimits = IMAGE_LIMITS,
): Promise<StoredImage> {
  const { header, image } = open(bytes, limits);
  const { data, info } = await finish(ENCODE[header.mediaType](image));
  return {
    bytes: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
    mediaType: header.mediaType,
    width: info.width,
    height: info.height,
    digest: `sha256:${createHash('sha256').update(data).digest('hex')}`,
  };
}
