import { ImageError } from './errors.ts';
import { IMAGE_LIMITS, type ImageLimits } from './limits.ts';

/**
 * Bytes of a `data:image/png;base64,...` (RFC 2397). What type they are is read of the bytes themselves, later: clients
 * name the wrong one often.
 * @throws ImageError for anything else
 */
export function imageFromDataUrl(text: string, limits: ImageLimits = IMAGE_LIMITS): Uint8Array {
  const head = /^data:image\/[a-z0-9.+-]{1,64}(?:;[a-z0-9=._-]{1,64}){0,4};base64,/i.exec(text.slice(0, 512));
  if (!head) throw new ImageError('url', 'the data URL must begin with data:image/TYPE;base64,');
  const base64 = text.slice(head[0].length);
  if (base64.length > Math.ceil(limits.bytes / 3) * 4) {
    throw new ImageError(
      'size',
      `the image of the data URL has more than ${limits.bytes} bytes: send it smaller or compressed more`,
    );
  }
  const bytes = Buffer.from(base64, 'base64');
  const digits = base64.length - (base64.endsWith('==') ? 2 : base64.endsWith('=') ? 1 : 0);
  // Node passes over what is not base64, and so makes fewer bytes of it.
  if (bytes.length === 0 || digits % 4 === 1 || bytes.length !== Math.floor((digits * 3) / 4))
    throw new ImageError('url', 'the data URL is not base64 after its comma');
  return bytes;
}
