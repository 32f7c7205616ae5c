import { type DecodedImage, decodeImage } from '@landfall/images/decode.ts';
import { imageRefused } from '../errors.ts';

/** Pixels of a request's image. @throws LandfallError INVALID_ARGUMENT that names the field */
export async function imageField(field: string, bytes: Uint8Array): Promise<DecodedImage> {
  try {
    return await decodeImage(bytes);
  } catch (error) {
    throw imageRefused(field, error);
  }
}
