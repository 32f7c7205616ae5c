import { permutation, randomOf } from '@landfall/metrics/random.ts';
import type { TestSetRow } from '@landfall/proto/landfall/prompt/v1/evaluation_pb.js';
import { sortedJson } from '../test-sets/store.ts';

/** Rows of a set by what they are for, each in an order of the seed; by their numbers in the set. */
export interface Split {
  /** Examples are taken from these: an example is never measured on. */
  examples: number[];
  /** Proposals are measured on these. */
  development: number[];
  /** The search never sees these. */
  heldOut: number[];
}

export interface SplitOptions {
  seed: bigint;
  /** Share of the rows, 0 to 1. */
  heldOutShare: number;
  /** Whether rows are set aside as examples. */
  withExamples: boolean;
}

const EXAMPLES_SHARE = 0.25;
const MOST_EXAMPLES = 24;

/** Splits a set by a seed. Rows with the same input stay together, so that no answer is known from another part. */
export function splitRows(rows: readonly TestSetRow[], options: SplitOptions): Split {
  const { seed, heldOutShare, withExamples } = options;
  const groups = new Map<string, number[]>();
  for (const [i, row] of rows.entries()) {
    const key = inputKey(row);
    groups.set(key, [...(groups.get(key) ?? []), i]);
  }
  const all = [...groups.values()];
  const order = [...permutation(all.length, randomOf(seed, 'split'))].map((i) => all[i]!);
  const heldOutRows = Math.round(rows.length * heldOutShare);
  const exampleRows = withExamples
    ? Math.min(MOST_EXAMPLES, Math.floor((rows.length - heldOutRows) * EXAMPLES_SHARE))
    : 0;
  const split: Split = { examples: [], development: [], heldOut: [] };
  for (const group of order) {
    if (split.heldOut.length < heldOutRows) split.heldOut.push(...group);
    else if (split.examples.length < exampleRows) split.examples.push(...group);
    else split.development.push(...group);
  }
  return split;
}

/** The same for rows with the same input. */
export const inputKey = ({ variables }: TestSetRow): string => sortedJson(variables ?? {});
