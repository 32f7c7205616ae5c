/** The seed of a test file's random data, printed so that a failure can be run again. */
export function testSeed(what: string): number {
  const seed = Number(process.env.LANDFALL_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31));
  process.stdout.write(`${what}: LANDFALL_TEST_SEED=${seed}\n`);
  return seed;
}

/** Uniform in [0, 1): mulberry32. */
export function generator(state: number): () => number {
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A whole number from low to high, both included. */
export function between(random: () => number, low: number, high: number): number {
  return low + Math.floor(random() * (high - low + 1));
}
