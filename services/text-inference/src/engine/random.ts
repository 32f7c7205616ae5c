/**
 * Random numbers that depend on a seed and a position alone, so that a sequence draws the same ones whatever
 * shares its batch, and again after it was preempted and computed anew.
 *
 * Philox2x32-10: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011).
 */

const MULTIPLIER = 0xd256d193;
const WEYL = 0x9e3779b9;
const ROUNDS = 10;

/** High half of the 64-bit product of two unsigned 32-bit numbers. */
function multiplyHigh(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  // Every sum here is of products below 2^32 and stays exact in a double.
  const middle = aHigh * bLow + Math.floor((aLow * bLow) / 0x10000);
  const carry = aLow * bHigh + (middle % 0x10000);
  return aHigh * bHigh + Math.floor(middle / 0x10000) + Math.floor(carry / 0x10000);
}

/** One block of Philox2x32-10: counter [2] and key to two unsigned 32-bit numbers. */
export function philox2x32(counter0: number, counter1: number, key: number): [number, number] {
  let c0 = counter0 >>> 0;
  let c1 = counter1 >>> 0;
  let k = key >>> 0;
  for (let round = 0; round < ROUNDS; round++) {
    const high = multiplyHigh(MULTIPLIER, c0);
    const low = Math.imul(MULTIPLIER, c0) >>> 0;
    c0 = (high ^ k ^ c1) >>> 0;
    c1 = low;
    k = (k + WEYL) >>> 0;
  }
  return [c0, c1];
}

/** The 64-bit seed of one of several answers: the first has the request's own. */
export function seedOf(seed: bigint, index: number): bigint {
  if (index === 0) return seed;
  const [a, b] = philox2x32(
    index,
    Number(BigInt.asUintN(32, seed >> 32n)),
    Number(BigInt.asUintN(32, ~seed)),
  );
  return (BigInt(a) << 32n) | BigInt(b);
}

/** Uniform in [0, 1) with 53 random bits, for the token at `position` of a sequence with this 64-bit seed. */
export function uniformAt(seed: bigint, position: number): number {
  const low = Number(BigInt.asUintN(32, seed));
  const high = Number(BigInt.asUintN(32, seed >> 32n));
  const [a, b] = philox2x32(position, high, low);
  return ((a >>> 5) * 0x4000000 + (b >>> 6)) / 0x20000000000000;
}
