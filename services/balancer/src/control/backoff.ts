export interface BackoffLimits {
  firstMs: number;
  longestMs: number;
}

/**
 * Pause before the next attempt after so many failures in a row: doubled each time up to the longest, of which a
 * random half is taken, so that what failed together does not come back together.
 * @param failures at least 1
 * @param random uniform in [0, 1)
 */
export function backoffMs(
  failures: number,
  { firstMs, longestMs }: BackoffLimits,
  random: () => number = Math.random,
): number {
  const full = Math.min(longestMs, firstMs * 2 ** Math.min(failures - 1, 30));
  return full * (0.5 + random() / 2);
}
