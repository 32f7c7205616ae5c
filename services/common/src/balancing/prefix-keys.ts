/**
 * What two requests have in common at their beginning, in a few numbers: a replica that has computed one of them has
 * the keys and values of that beginning in its cache.
 */

import { createHash } from 'node:crypto';
import { fnv1a64, type Hash64, start64 } from './fnv.ts';

/** A prompt as a request gives it: a chat, or plain text. */
export interface PrefixInput {
  /** `models:/name/version` that is to answer: an adapter's cache is its own. */
  model: string;
  /** Caches are never shared between tenants. */
  tenant: string;
  messages?: readonly { role: string; content: string; images?: readonly Uint8Array[] }[];
  prompt?: string;
}

/** Bytes of the canonical text that each key covers. */
export const PREFIX_BYTES = [256, 1024, 4096, 16384] as const;

/** What an image counts as: it is costly to compute, so a short question about it has keys too. */
const IMAGE_BYTES = 1024;

const LONGEST = PREFIX_BYTES[PREFIX_BYTES.length - 1]!;
/** Never occurs in UTF-8, so parts end where they end without a length, and a part that goes on shares its beginning. */
const END = 0xff;

/**
 * Keys of the beginnings of a prompt that are as long as PREFIX_BYTES, the shortest first; a prompt shorter than the
 * first has none. Each is FNV-1a (64 bits; Fowler, Noll, Vo) over tenant, model, what kind of prompt it is, and the
 * first bytes of role, images and content of each message (or of the plain text), every part ended by the byte 0xFF; an
 * image's part is its SHA-256 in base64 again and again, up to 1,024 bytes. They steer calls and prove nothing.
 */
export function prefixKeys({ model, tenant, messages = [], prompt = '' }: PrefixInput): bigint[] {
  const text = new Canonical();
  if (messages.length === 0) text.part(prompt);
  for (const { role, content, images = [] } of messages) {
    if (!text.part(role)) break;
    if (!images.every((image) => text.part(imagePart(image))) || !text.part(content)) break;
  }
  const head = new Canonical();
  for (const part of [tenant, model, messages.length > 0 ? 'chat' : 'text']) head.part(part);
  const hash: Hash64 = start64();
  fnv1a64(hash, head.bytes, 0, head.length);
  const keys: bigint[] = [];
  let from = 0;
  for (const bytes of PREFIX_BYTES) {
    if (text.length < bytes) break;
    fnv1a64(hash, text.bytes, from, bytes);
    keys.push((BigInt(hash.high) << 32n) | BigInt(hash.low));
    from = bytes;
  }
  return keys;
}

function imagePart(image: Uint8Array): string {
  const digest = createHash('sha256').update(image).digest('base64');
  return digest.repeat(Math.ceil(IMAGE_BYTES / digest.length)).slice(0, IMAGE_BYTES - 1);
}

/** Index of the longest beginning that is among the cached ones; -1 for none. */
export function longestMatch(keys: readonly bigint[], cached: readonly bigint[]): number {
  for (let i = keys.length - 1; i >= 0; i--) if (cached.includes(keys[i]!)) return i;
  return -1;
}

/** The keys of what was cached last, in a bounded space: what `Load.cached_prefixes` tells. */
export class PrefixSketch {
  readonly #capacity: number;
  /** In the order of their last use. */
  readonly #keys = new Set<bigint>();
  #newestFirst: readonly bigint[] | undefined;
  #version = 0;

  constructor(capacity = 64) {
    this.#capacity = capacity;
  }

  /** Keys of one prompt whose beginning is cached now; those that were known become the newest. */
  add(keys: readonly bigint[]): void {
    if (keys.length === 0) return;
    for (const key of keys) {
      if (!this.#keys.delete(key)) this.#version++;
      this.#keys.add(key);
    }
    for (const key of this.#keys) {
      if (this.#keys.size <= this.#capacity) break;
      this.#keys.delete(key);
    }
    this.#newestFirst = undefined;
  }

  /** The newest first, at most the capacity. */
  get keys(): readonly bigint[] {
    this.#newestFirst ??= [...this.#keys].reverse();
    return this.#newestFirst;
  }

  /** Differs when other keys are there than before. */
  get version(): number {
    return this.#version;
  }

  clear(): void {
    this.#keys.clear();
    this.#version++;
    this.#newestFirst = undefined;
  }
}

const encoder = new TextEncoder();

/** The first bytes of a prompt; what comes after the longest key is not even encoded. */
class Canonical {
  readonly bytes = new Uint8Array(LONGEST + 1);
  length = 0;

  /** @returns whether more fits */
  part(text: string): boolean {
    // Each UTF-16 unit is a byte at least, so no more of them can matter.
    const room = LONGEST - this.length;
    const { read, written } = encoder.encodeInto(text.slice(0, room), this.bytes.subarray(this.length));
    this.length += written;
    if (read < text.length) {
      // Stopped before a character that does not fit whole; the rest of the room tells nothing any more.
      this.bytes.fill(0, this.length, LONGEST);
      this.length = LONGEST;
      return false;
    }
    this.bytes[this.length++] = END;
    return this.length < LONGEST;
  }
}
