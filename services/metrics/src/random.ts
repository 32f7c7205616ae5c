// Seeded randomness. Everything random in a run is a function of (seed, what for, where), never of how many numbers
// were drawn before, so a resumed run needs no generator state to go on with the same numbers.

/** A stream of uniform numbers in [0, 1). */
export type Random = () => number;

/**
 * A generator for one purpose.
 *
 * @param seed the run's seed; all 64 bits count
 * @param parts names and indices that set this stream apart from the run's others, such as `'shuffle', epoch`
 */
export function randomOf(seed: bigint, ...parts: (string | number)[]): Random {
  return sfc32(hash(`${BigInt.asUintN(64, seed)}/${parts.join('/')}`));
}

/** Fisher-Yates: a permutation of 0..length-1. */
export function permutation(length: number, random: Random): Uint32Array {
  const order = Uint32Array.from({ length }, (_, i) => i);
  for (let i = length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}

/** cyrb128 (bryc): 128 bits from a string, to seed a generator. */
function hash(text: string): [number, number, number, number] {
  let [a, b, c, d] = [1779033703, 3144134277, 1013904242, 2773480762];
  for (let i = 0; i < text.length; i++) {
    const k = text.charCodeAt(i);
    a = b ^ Math.imul(a ^ k, 597399067);
    b = c ^ Math.imul(b ^ k, 2869860233);
    c = d ^ Math.imul(c ^ k, 951274213);
    d = a ^ Math.imul(d ^ k, 2716044179);
  }
  a = Math.imul(c ^ (a >>> 18), 597399067);
  b = Math.imul(d ^ (b >>> 22), 2869860233);
  c = Math.imul(a ^ (c >>> 17), 951274213);
  d = Math.imul(b ^ (d >>> 19), 2716044179);
  return [a ^ b ^ c ^ d, b ^ a, c ^ a, d ^ a];
}

/** sfc32 (Chris Doty-Humphrey), 32 bits a draw; passes PractRand. */
function sfc32([a, b, c, d]: [number, number, number, number]): Random {
  const next = () => {
    const t = (((a + b) | 0) + d) | 0;
    d = (d + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (c << 21) | (c >>> 11);
    c = (c + t) | 0;
    return (t >>> 0) / 2 ** 32;
  };
  for (let i = 0; i < 15; i++) next();
  return next;
}
