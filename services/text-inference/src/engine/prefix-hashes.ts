import { createHash } from 'node:crypto';
import type { PromptImage } from './sequence.ts';

/** What keys and values depend on beside the tokens; blocks are never shared across it. */
export interface PrefixScope {
  tenant: string;
  /** Adapter's key; undefined for the base. */
  adapter?: string | undefined;
  /** Virtual tokens before the first one. */
  virtual: number;
}

/**
 * A hash for each full block of a prompt, of all that stands up to its end: equal hashes mean equal keys and values.
 * The last token is never in a full block here: it has to be computed for the logits behind it.
 */
export function prefixHashes(
  scope: PrefixScope,
  prompt: readonly number[],
  blockSize: number,
  images: readonly PromptImage[] = [],
): string[] {
  const { tenant, adapter = '', virtual } = scope;
  const full = Math.floor((virtual + prompt.length - 1) / blockSize);
  const hashes: string[] = [];
  let before = createHash('sha256')
    .update(JSON.stringify([tenant, adapter, virtual]))
    .digest('base64');
  for (let block = 0; block < full; block++) {
    const from = Math.max(0, block * blockSize - virtual);
    const end = Math.max(0, (block + 1) * blockSize - virtual);
    const tokens = Uint32Array.from(prompt.slice(from, end));
    const hash = createHash('sha256').update(before).update(new Uint8Array(tokens.buffer));
    // The tokens of all images are the same; what an image holds is in the first block that it reaches into.
    for (const { at, digest } of images) if (from <= at && at < end) hash.update(`${at} ${digest}`);
    before = hash.digest('base64');
    hashes.push(before);
  }
  return hashes;
}
