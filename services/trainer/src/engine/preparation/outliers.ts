import { quantile } from './statistics.ts';

/** With fewer rows quartiles say nothing. */
const FEWEST_ROWS = 20;
/** Tukey's outer fences (1977). */
const FENCE = 3;

/** Lengths from `low` to `high` are usual. */
export interface Fences {
  low: number;
  high: number;
}

/**
 * Lengths in characters outside of which a text is unusual: three times the distance of the quartiles beyond them. The
 * distance counts as half the median at least, since rows made to one pattern hardly differ and are all usual.
 *
 * @returns undefined where there are too few to tell
 */
export function lengthFences(lengths: readonly number[]): Fences | undefined {
  if (lengths.length < FEWEST_ROWS) return undefined;
  const sorted = Float64Array.from(lengths).sort();
  const [first, median, third] = [0.25, 0.5, 0.75].map((share) => quantile(sorted, share));
  const distance = Math.max(third! - first!, median! / 2);
  return { low: first! - FENCE * distance, high: third! + FENCE * distance };
}

/** Why a length is unusual, for people; undefined for a usual one. */
export function unusual(name: string, length: number, fences: Fences | undefined): string | undefined {
  if (!fences || (length >= fences.low && length <= fences.high)) return undefined;
  const usual = `${Math.max(1, Math.ceil(fences.low))} to ${Math.floor(fences.high)} are usual here`;
  return `${name} has ${length} characters; ${usual}`;
}
