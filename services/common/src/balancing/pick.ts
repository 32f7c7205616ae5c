/**
 * The less costly of two candidates that are drawn at random without repetition (Mitzenmacher, "The power of two
 * choices in randomized load balancing", 2001): near the best choice, and many callers with the same stale figures
 * don't all run to the same replica.
 * @param random uniform in [0, 1)
 * @returns undefined for no candidates
 */
export function lessLoadedOfTwo<T>(
  candidates: readonly T[],
  cost: (candidate: T) => number,
  random: () => number = Math.random,
): T | undefined {
  const count = candidates.length;
  if (count < 2) return candidates[0];
  const first = Math.floor(random() * count);
  let second = Math.floor(random() * (count - 1));
  if (second >= first) second++;
  const a = candidates[first]!;
  const b = candidates[second]!;
  return cost(b) < cost(a) ? b : a;
}

/**
 * The least costly of all candidates, one of them at random where several are.
 * @returns undefined for no candidates
 */
export function leastLoaded<T>(
  candidates: readonly T[],
  cost: (candidate: T) => number,
  random: () => number = Math.random,
): T | undefined {
  let best: T | undefined;
  let least = Number.POSITIVE_INFINITY;
  let equal = 0;
  for (const candidate of candidates) {
    const one = cost(candidate);
    if (one > least) continue;
    equal = one < least ? 1 : equal + 1;
    // Each of the equal ones stays with the same probability.
    if (equal === 1 || random() * equal < 1) best = candidate;
    least = one;
  }
  return best;
}
