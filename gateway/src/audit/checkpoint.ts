import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
  verify,
} from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Head } from './chain.ts';

/** Lines that were dropped on purpose: whole segments, oldest first. */
export interface Dropped {
  /** Number of the first line that was dropped with this step. */
  first: number;
  last: number;
  /** Hash of the last: the chain goes on from it. */
  hash: string;
}

/** What the key's holder vouches for: the chain of this shard had this line, and so all before it. */
export interface Checkpoint extends Head {
  shard: string;
  /** RFC 3339. */
  time: string;
  /** `closed` where no line follows until the log is opened again. */
  state: 'open' | 'closed';
  dropped?: Dropped | undefined;
  /** Names the key: the first 16 hex digits of the SHA-256 of its public half. */
  key: string;
}

const SIGNATURE_KEY = ',"sig":"';
const SUFFIX_BYTES = SIGNATURE_KEY.length + 86 + 2;
const SUFFIX = /,"sig":"[A-Za-z0-9_-]{86}"\}$/;

const keyName = (publicKey: KeyObject): string =>
  createHash('sha256')
    .update(publicKey.export({ type: 'spki', format: 'der' }))
    .digest('hex')
    .slice(0, 16);

/** Signs checkpoints (Ed25519). */
export class CheckpointSigner {
  readonly #key: KeyObject;
  readonly publicPem: string;
  readonly name: string;

  private constructor(key: KeyObject) {
    this.#key = key;
    const publicKey = createPublicKey(key);
    this.publicPem = publicKey.export({ type: 'spki', format: 'pem' }) as string;
    this.name = keyName(publicKey);
  }

  /** The key of a file in PEM (PKCS 8); one is made, for its owner's eyes alone, where there is no file. */
  static open(file: string): CheckpointSigner {
    if (!existsSync(file)) {
      mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
      const { privateKey } = generateKeyPairSync('ed25519');
      writeFileSync(file, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600, flag: 'wx' });
    }
    const key = createPrivateKey(readFileSync(file));
    if (key.asymmetricKeyType !== 'ed25519')
      throw new Error('the key of the audit log is not one of Ed25519');
    return new CheckpointSigner(key);
  }

  /** One line, with its break. */
  line(checkpoint: Omit<Checkpoint, 'key'>): string {
    const body = JSON.stringify({ ...checkpoint, key: this.name }).slice(0, -1);
    const signature = sign(null, Buffer.from(body), this.#key).toString('base64url');
    return `${body}${SIGNATURE_KEY}${signature}"}\n`;
  }
}

/** Public keys in PEM, one behind the other in a file, by their names; what is no key is left out. */
export function readPublicKeys(pem: string): Map<string, KeyObject> {
  const blocks = pem.match(/-----BEGIN PUBLIC KEY-----[^-]+-----END PUBLIC KEY-----/g) ?? [];
  const keys = blocks.flatMap((block) => publicKeyOf(block) ?? []);
  return new Map(keys.map((key) => [keyName(key), key]));
}

function publicKeyOf(pem: string): KeyObject | undefined {
  try {
    return createPublicKey(pem);
  } catch {
    return undefined;
  }
}

/** A checkpoint that one of the keys has signed; else why it is none. */
export function readCheckpoint(
  bytes: Buffer,
  keys: ReadonlyMap<string, KeyObject>,
): { checkpoint: Checkpoint } | { fault: string } {
  if (!SUFFIX.test(bytes.subarray(-SUFFIX_BYTES).toString('latin1'))) return { fault: 'is no checkpoint' };
  let parsed: Checkpoint & { sig: string };
  try {
    parsed = JSON.parse(bytes.toString());
  } catch {
    return { fault: 'is no JSON' };
  }
  const { sig, ...checkpoint } = parsed;
  const key = keys.get(checkpoint.key);
  if (!key)
    return { fault: `is signed with a key that was not given (${String(checkpoint.key).slice(0, 16)})` };
  const holds = verify(null, bytes.subarray(0, -SUFFIX_BYTES), key, Buffer.from(sig, 'base64url'));
  return holds ? { checkpoint } : { fault: 'has a signature that does not hold' };
}
