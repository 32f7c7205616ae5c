import { Random } from './random.ts';

const SIDE = 256;
const MASK = SIDE - 1;
/** One table for all noise: surfaces differ by where and how they look into it. */
const TABLE = (() => {
  const random = new Random(20_011);
  return Float32Array.from({ length: SIDE * SIDE }, () => random.next() * 2 - 1);
})();

/** Noise of a single pixel in [-1, 1]; the same for the same place. */
export function grain(x: number, y: number): number {
  return TABLE[((y & MASK) << 8) | (x & MASK)]!;
}

/** Smooth value noise in [-1, 1] with one bump for each unit. */
export function noise(x: number, y: number): number {
  const x0 = Math.floor(x);
  const y0 = Math.floor(y);
  const fx = x - x0;
  const fy = y - y0;
  const u = fx * fx * (3 - 2 * fx);
  const v = fy * fy * (3 - 2 * fy);
  const top = (y0 & MASK) << 8;
  const below = ((y0 + 1) & MASK) << 8;
  const left = x0 & MASK;
  const right = (x0 + 1) & MASK;
  const a = TABLE[top | left]! + (TABLE[top | right]! - TABLE[top | left]!) * u;
  const b = TABLE[below | left]! + (TABLE[below | right]! - TABLE[below | left]!) * u;
  return a + (b - a) * v;
}
