import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';

const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/**
 * What is kept of answers as it lies in the database: sealed with a key that is not there (AES-256-GCM), and bound to
 * the place that it was sealed for, so that no row passes for another's.
 */
export class EntryBox {
  readonly #key: Buffer;

  constructor(meshKey: Uint8Array) {
    this.#key = Buffer.from(hkdfSync('sha256', meshKey, '', 'landfall answer cache entries', 32));
  }

  /** @param place tenant, key and what of it, as one text @returns base64 */
  seal(bytes: Uint8Array, place: string): string {
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv('aes-256-gcm', this.#key, nonce).setAAD(Buffer.from(place));
    return Buffer.concat([nonce, cipher.update(bytes), cipher.final(), cipher.getAuthTag()]).toString(
      'base64',
    );
  }

  /** @throws Error for what was not sealed by this key for this place */
  open(sealed: string, place: string): Buffer {
    const bytes = Buffer.from(sealed, 'base64');
    const decipher = createDecipheriv('aes-256-gcm', this.#key, bytes.subarray(0, NONCE_BYTES), {
      authTagLength: TAG_BYTES,
    });
    decipher.setAAD(Buffer.from(place)).setAuthTag(bytes.subarray(-TAG_BYTES));
    return Buffer.concat([decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()]);
  }
}
