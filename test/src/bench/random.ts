/** Numerical Recipes' generator, uniform in [0, 1): the peer's script has it too, so that both see the same rows. */
export function lcg(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}
