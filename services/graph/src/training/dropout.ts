/**
 * Which inputs are kept: a byte each, 1 with the chance `keep`, decided by the seed alone, so that a step that is run
 * again drops the same (splitmix-like mixing for the start, xorshift32 from there; Steele et al. 2014, Marsaglia 2003).
 */
export function keepMask(length: number, keep: number, seed: number): Uint8Array {
  const mask = new Uint8Array(length);
  const threshold = Math.round(keep * 2 ** 32);
  let state = mix(seed) || 1;
  for (let i = 0; i < length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    mask[i] = state >>> 0 < threshold ? 1 : 0;
  }
  return mask;
}

/** Spreads a number, and what it is joined with, over 32 bits (murmur3's finaliser). */
export function mix(value: number, other = 0): number {
  let h = (value ^ Math.imul(other + 1, 0x9e3779b1)) >>> 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
