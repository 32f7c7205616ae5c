import sharp, { type OutputInfo, type Sharp } from 'sharp';
import { broken, type ImageError } from './errors.ts';
import { type ImageHeader, readHeader } from './header.ts';
import { IMAGE_LIMITS, type ImageLimits } from './limits.ts';
import { onlyPixels } from './png.ts';

// Images come once: what libvips would keep of them is memory without use.
sharp.cache(false);

const WHITE = '#ffffff';

/** Upright pixels. */
export interface DecodedImage {
  width: number;
  height: number;
  /** [height, width, 3], sRGB. */
  rgb: Uint8Array;
}

/**
 * Decodes a PNG, JPEG or WebP: turned upright by its EXIF orientation, in sRGB of 8 bits, what is transparent over white.
 * @param ground that transparent parts are shown on, as `#rrggbb`
 * @throws ImageError for what is not taken, whatever the bytes are; bombs before anything is decoded
 */
export async function decodeImage(
  bytes: Uint8Array,
  limits: ImageLimits = IMAGE_LIMITS,
  ground = WHITE,
): Promise<DecodedImage> {
  const { data, info } = await finish(
    open(bytes, limits, ground).image.removeAlpha().raw({ depth: 'uchar' }),
  );
  if (info.channels !== 3) throw broken('its colours are not understood');
  return {
    width: info.width,
    height: info.height,
    rgb: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
  };
}

/** Whether parts of an image may be transparent. @throws ImageError */
export async function hasAlpha(bytes: Uint8Array, limits: ImageLimits = IMAGE_LIMITS): Promise<boolean> {
  const { header, image } = open(bytes, limits);
  if (header.mediaType === 'image/jpeg') return false;
  try {
    return (await image.metadata()).hasAlpha;
  } catch (cause) {
    throw undecodable(cause);
  }
}

/** A pipeline that ends in upright sRGB over a ground. */
export function open(
  bytes: Uint8Array,
  limits: ImageLimits,
  ground = WHITE,
): { header: ImageHeader; image: Sharp } {
  const header = readHeader(bytes, limits);
  const data = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const image = sharp(header.mediaType === 'image/png' ? onlyPixels(data) : data, {
    // An image with a warning has lost pixels, and what is judged of the rest is not what was sent.
    failOn: 'warning',
    limitInputPixels: limits.pixels,
  });
  return {
    header,
    image: image.autoOrient().flatten({ background: ground }).toColourspace('srgb'),
  };
}

/** Runs a pipeline; whatever libvips says is an ImageError without its words, which tell of libraries and their insides. */
export async function finish(image: Sharp): Promise<{ data: Buffer; info: OutputInfo }> {
  try {
    return await image.toBuffer({ resolveWithObject: true });
  } catch (cause) {
    throw undecodable(cause);
  }
}

function undecodable(cause: unknown): ImageError {
  const error = broken('it cannot be decoded whole, as after a transfer that was cut off');
  error.cause = cause;
  return error;
}
