// Testing by betting (Waudby-Smith and Ramdas, 2024): valid however often, and until whenever, one looks.

/** What a gambler has made of bets that a mean is lower. */
export interface Wealth {
  /** The most that was ever held, of 1 at the beginning. 1/alpha refutes the hypothesis at level alpha. */
  most: number;
  /** What is held after the last value. */
  now: number;
  count: number;
  mean: number;
}

export interface BettingOptions {
  /** The hypothesis: the mean of each value, given those before, is at least this. */
  bound: number;
  /** Range of the values; what lies outside counts as its nearest end. */
  minimum: number;
  maximum: number;
}

/** Part of the largest possible stake that is never exceeded, so that no single value takes everything. */
const CAUTION = 0.5;

/**
 * Bets on values below a bound, one after the other. While the hypothesis holds, wealth is a non-negative supermartingale
 * that begins with 1, so that it ever reaches 1/alpha with a probability of at most alpha (Ville). The stake is the
 * approximate growth-rate-optimal one of the values so far (aGRAPA).
 *
 * @throws RangeError where the bound is not inside of the range
 */
export function betLower(values: Iterable<number>, { bound, minimum, maximum }: BettingOptions): Wealth {
  if (!(minimum < bound && bound < maximum)) {
    throw new RangeError(`a bound of ${bound} is not between ${minimum} and ${maximum}`);
  }
  const range = maximum - minimum;
  const m = (bound - minimum) / range;
  const largest = CAUTION / (1 - m);
  let [now, most, count, sum] = [1, 1, 0, 0];
  // Before the first value: its mean is as the hypothesis says, its variance the largest of [0, 1].
  let [mean, squares] = [m, 0.25];
  for (const value of values) {
    const x = (Math.min(maximum, Math.max(minimum, value)) - minimum) / range;
    const variance = squares / (count + 1);
    const stake = Math.min(largest, Math.max(0, (m - mean) / (variance + (m - mean) ** 2)));
    now *= 1 + stake * (m - x);
    most = Math.max(most, now);
    count++;
    sum += value;
    const before = mean;
    mean += (x - mean) / (count + 1);
    squares += (x - before) * (x - mean);
  }
  return { most, now, count, mean: count > 0 ? sum / count : 0 };
}
