import { finish, open } from './decode.ts';
import { IMAGE_LIMITS } from './limits.ts';

/** How an image is mirrored: across x left and right change places, across y top and bottom; both are half a turn. */
export interface Mirrored {
  x: boolean;
  y: boolean;
}

/** An image mirrored, as a PNG: not a pixel is lost. @throws ImageError as decodeImage */
export async function mirroredImage(bytes: Uint8Array, { x, y }: Mirrored): Promise<Uint8Array> {
  const { image } = open(bytes, IMAGE_LIMITS);
  // Sent once and then forgotten: what a smaller file would save is less than what it would cost to make.
  const { data } = await finish(image.flop(x).flip(y).png({ compressionLevel: 1 }));
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
