import { ImageError } from './errors.ts';
import { jpegHeader } from './jpeg.ts';
import { IMAGE_LIMITS, type ImageLimits } from './limits.ts';
import { pngHeader } from './png.ts';
import { webpHeader } from './webp.ts';

export type MediaType = 'image/png' | 'image/jpeg' | 'image/webp';

/** What the first bytes of an image say of it, before anything is decoded. */
export interface ImageHeader {
  mediaType: MediaType;
  /** As it is encoded: an orientation of EXIF is not looked at. */
  width: number;
  height: number;
  frames: number;
}

/**
 * Reads the header and holds it against the limits: a bomb is refused here, for what it says of itself, and nothing of it
 * is unpacked.
 * @throws ImageError
 */
export function readHeader(bytes: Uint8Array, limits: ImageLimits = IMAGE_LIMITS): ImageHeader {
  if (bytes.length > limits.bytes) {
    throw new ImageError(
      'size',
      `the image has ${bytes.length} bytes; at most ${limits.bytes} are taken: send it smaller or compressed more`,
    );
  }
  const data = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const header = pngHeader(data) ?? jpegHeader(data) ?? webpHeader(data);
  if (!header) throw new ImageError('type', 'this is no PNG, JPEG or WebP image; other types are not taken');
  const { width, height, frames } = header;
  if (width < 1 || height < 1) throw new ImageError('broken', 'the image says that it has no pixels');
  if (width * height > limits.pixels) {
    throw new ImageError(
      'pixels',
      `the image has ${width} x ${height} pixels; at most ${limits.pixels} are taken: send it smaller`,
    );
  }
  if (frames > 1) {
    throw new ImageError('frames', `the image is an animation of ${frames} frames; send a still image`);
  }
  return header;
}
