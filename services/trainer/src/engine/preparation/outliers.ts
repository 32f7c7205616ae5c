import { characters, quantile } from './statistics.ts';

/** With fewer rows quartiles say nothing. */
const FEWEST_ROWS = 20;
/** Tukey's outer fences (1977). */
const FENCE = 3;

/**
 * Lengths in characters outside of which a text is unusual: three times the distance of the quartiles beyond them. The
 * distance counts as half the median at least, since rows made to one pattern hardly differ and are all usual.
 */
export function lengthFences(texts: readonly string[]): { low: number; high: number } | undefined {
  if (texts.length < FEWEST_ROWS) return undefined;
  const sorted = texts.map(characters).sort((a, b) => a - b);
  const [first, median, third] = [0.25, 0.5, 0.75].map((share) => quantile(sorted, share));
  const distance = Math.max(third! - first!, median! / 2);
  return { low: first! - FENCE * distance, high: third! + FENCE * distance };
}
