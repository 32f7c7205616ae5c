import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes } from 'node:crypto';

const PREFIX = 'whsec_';

/** Secrets of webhooks as they lie in the database: sealed with a key that is not there (AES-256-GCM). */
export class SecretBox {
  readonly #key: Buffer;

  constructor(meshKey: Uint8Array) {
    this.#key = Buffer.from(hkdfSync('sha256', meshKey, '', 'landfall webhook secrets', 32));
  }

  /** A new secret as its owner gets it. */
  static make(): string {
    return `${PREFIX}${randomBytes(32).toString('base64')}`;
  }

  seal(secret: string): string {
    const nonce = randomBytes(12);
    const cipher = createCipheriv('aes-256-gcm', this.#key, nonce);
    return Buffer.concat([nonce, cipher.update(secret), cipher.final(), cipher.getAuthTag()]).toString(
      'base64',
    );
  }

  open(sealed: string): string {
    const bytes = Buffer.from(sealed, 'base64');
    const decipher = createDecipheriv('aes-256-gcm', this.#key, bytes.subarray(0, 12));
    decipher.setAuthTag(bytes.subarray(-16));
    return Buffer.concat([decipher.update(bytes.subarray(12, -16)), decipher.final()]).toString();
  }
}

/** One signature for each secret, with a space between: while secrets change, their server takes either. */
export function signatures(secrets: readonly string[], id: string, seconds: number, body: string): string {
  return secrets.map((secret) => signature(secret, id, seconds, body)).join(' ');
}

/** `webhook-signature` of Standard Webhooks: HMAC-SHA256 over id, seconds since 1970 and body. */
export function signature(secret: string, id: string, seconds: number, body: string): string {
  const key = Buffer.from(secret.slice(PREFIX.length), 'base64');
  return `v1,${createHmac('sha256', key).update(`${id}.${seconds}.${body}`).digest('base64')}`;
}
