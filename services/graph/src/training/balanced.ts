import { mix } from './dropout.ts';

/** A showing of a row. */
export interface Showing {
  row: number;
  /** Times that it was shown before in the same epoch. */
  before: number;
}

/**
 * An epoch of as many showings as there are rows, each label as often as any other: rows of a scarce label come again,
 * of a frequent one some are left for another epoch. What an epoch shows is decided by its seed alone.
 * @param labels by row
 */
export function balancedEpoch(labels: readonly string[], seed: number): Showing[] {
  const random = generator(seed);
  const byLabel = new Map<string, number[]>();
  for (const [row, label] of labels.entries()) {
    const rows = byLabel.get(label);
    if (rows) rows.push(row);
    else byLabel.set(label, [row]);
  }
  const share = Math.floor(labels.length / byLabel.size);
  // What does not divide goes to labels by lot.
  const more = new Set(shuffled([...byLabel.keys()], random).slice(0, labels.length - share * byLabel.size));
  const showings: Showing[] = [];
  for (const [label, rows] of byLabel) {
    const count = share + Number(more.has(label));
    for (let shown = 0; shown < count; shown += rows.length) {
      const before = shown / rows.length;
      for (const row of shuffled(rows, random).slice(0, count - shown)) showings.push({ row, before });
    }
  }
  return shuffled(showings, random);
}

/** Uniform in [0, 1), decided by the seed. */
export function generator(seed: number): () => number {
  let drawn = 0;
  return () => mix(seed, drawn++) / 2 ** 32;
}

/** Another order (Fisher and Yates). */
function shuffled<Item>(items: readonly Item[], random: () => number): Item[] {
  const order = [...items];
  for (let i = order.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}
