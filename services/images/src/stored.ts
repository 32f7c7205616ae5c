import { createHash } from 'node:crypto';
import { finish, open } from './decode.ts';
import { ENCODE } from './encode.ts';
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
