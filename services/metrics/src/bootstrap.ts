import { randomOf } from './random.ts';

/** A metric's value over a choice of rows, by their indices; a row may come more than once. */
export type MetricOverRows = (rows: Uint32Array) => number;

/** Difference of a metric between two systems that answered the same rows. */
export interface Difference {
  first: number;
  second: number;
  /** Second minus first. */
  difference: number;
  /** 95 % interval of the difference. */
  low: number;
  high: number;
  /** Share of resamples in which the second is not better. */
  pValue: number;
}

export interface BootstrapOptions {
  rows: number;
  resamples: number;
  seed: bigint;
  /** Lower is better, as for perplexity. */
  lowerIsBetter?: boolean;
}

/**
 * Paired bootstrap (Koehn 2004): rows are drawn with replacement, the same ones for both systems, and the interval is
 * that of the differences between their 2.5th and 97.5th percentile.
 */
export function pairedBootstrap(
  first: MetricOverRows,
  second: MetricOverRows,
  { rows, resamples, seed, lowerIsBetter = false }: BootstrapOptions,
): Difference {
  const all = Uint32Array.from({ length: rows }, (_, i) => i);
  const differences = new Float64Array(resamples);
  const drawn = new Uint32Array(rows);
  const random = randomOf(seed, 'bootstrap');
  let notBetter = 0;
  for (let i = 0; i < resamples; i++) {
    for (let row = 0; row < rows; row++) drawn[row] = Math.floor(random() * rows);
    const difference = second(drawn) - first(drawn);
    differences[i] = difference;
    if (lowerIsBetter ? difference >= 0 : difference <= 0) notBetter++;
  }
  differences.sort();
  const at = (share: number) => differences[Math.min(resamples - 1, Math.floor(share * resamples))]!;
  const [a, b] = [first(all), second(all)];
  return {
    first: a,
    second: b,
    difference: b - a,
    low: at(0.025),
    high: at(0.975),
    pValue: notBetter / resamples,
  };
}
