// Intervals that hold at every time at once, so that whoever looks after each observation, and stops when they like, is
// wrong no more often than they said.

/** What has been seen of a mean; five numbers and a count, whatever the count. */
export interface SequenceState {
  count: number;
  sum: number;
  /** Squared distances from the running mean. */
  squares: number;
  /** Weights so far, and with them: the observations, and the distances from what was predicted. */
  weights: number;
  weighted: number;
  spread: number;
}

/** A mean with an interval around it. */
export interface Interval {
  mean: number;
  low: number;
  high: number;
}

/** Largest weight; the paper proposes 1/2 or 3/4. */
const LARGEST_WEIGHT = 0.5;

export const emptySequence = (): SequenceState => ({
  ...{ count: 0, sum: 0, squares: 0 },
  ...{ weights: 0, weighted: 0, spread: 0 },
});

/**
 * One more observation, from 0 to 1.
 *
 * @param alpha the same for all observations of a sequence
 * @throws RangeError for an observation out of its range
 */
export function observe(state: SequenceState, x: number, alpha: number): SequenceState {
  if (!(x >= 0 && x <= 1)) throw new RangeError(`an observation lies between 0 and 1 and is not ${x}`);
  const predicted = (0.5 + state.sum) / (state.count + 1);
  const variance = (0.25 + state.squares) / (state.count + 1);
  const count = state.count + 1;
  const weight = Math.min(
    LARGEST_WEIGHT,
    Math.sqrt((2 * Math.log(2 / alpha)) / (variance * count * Math.log(1 + count))),
  );
  const sum = state.sum + x;
  const mean = (0.5 + sum) / (count + 1);
  // 4 (x - predicted)^2 psi(weight), where psi has the 4 below it.
  const surprise = (x - predicted) ** 2 * (-Math.log1p(-weight) - weight);
  return {
    count,
    sum,
    squares: state.squares + (x - mean) ** 2,
    weights: state.weights + weight,
    weighted: state.weighted + weight * x,
    spread: state.spread + surprise,
  };
}

/**
 * The mean's interval: with probability 1 - alpha it holds the true mean after every observation, for any distribution
 * on [0, 1] whose mean does not depend on what came before. Predictable plug-in empirical Bernstein confidence sequence
 * of Waudby-Smith and Ramdas, Estimating means of bounded random variables by betting, JRSS B 86 (2024), theorem 2.
 */
export function intervalOf(
  { count, sum, weights, weighted, spread }: SequenceState,
  alpha: number,
): Interval {
  if (count === 0) return { mean: Number.NaN, low: 0, high: 1 };
  const centre = weighted / weights;
  const radius = (Math.log(2 / alpha) + spread) / weights;
  return { mean: sum / count, low: Math.max(0, centre - radius), high: Math.min(1, centre + radius) };
}
