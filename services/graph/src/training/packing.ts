import type { SequenceImage } from './sequence-images.ts';

/** Token sequences of different lengths, laid out for one run: packed for linear layers, padded for attention. */
export interface PackedBatch {
  /** Real tokens in all, N. */
  tokens: number;
  sequences: number;
  /** Longest sequence, T. */
  longest: number;
  /** [N] */
  ids: BigInt64Array;
  /** [1, N]: position of each token in its sequence, virtual tokens before it included. */
  positions: BigInt64Array;
  /** [B * T]: the packed row in each slot; slots past a sequence's end hold row 0. */
  slotRows: BigInt64Array;
  /** [B * T, 1]: 1 where a slot holds a token. */
  slotMask: Float32Array;
  /** [N]: the slot of each packed row. */
  rowSlots: BigInt64Array;
  /** Virtual tokens before each sequence, P. */
  prefix: number;
  /** [B, 1, 1, T, P + T]: 0 where a token may look, a large negative number elsewhere. */
  mask: Float32Array;
  /** [M]: packed rows whose next token has a label. */
  labelRows: BigInt64Array;
  /** [M]: those labels. */
  labels: BigInt64Array;
}

/** One sequence; `labels[i]` is the target for token i itself (shifted here), -100 for none. */
export interface Sequence {
  ids: ArrayLike<number>;
  labels: ArrayLike<number>;
  /** Images in the order in which their tokens stand; for a model that sees. */
  images?: readonly SequenceImage[];
}

/** Added to the score of a token that may not be looked at; exp of it is exactly 0. */
export const MASKED = -1e9;
/** The label of a token that nothing is learnt from. */
export const IGNORED = -100;

/**
 * @param slidingWindow tokens that a token sees, itself included
 * @param prefix virtual tokens before each sequence
 * @param least slots of a sequence at least
 */
export function packSequences(
  sequences: readonly Sequence[],
  slidingWindow?: number,
  prefix = 0,
  least = 1,
): PackedBatch {
  const lengths = sequences.map((s) => s.ids.length);
  const tokens = lengths.reduce((sum, n) => sum + n, 0);
  const longest = Math.max(least, ...lengths);
  const count = sequences.length;
  const batch: PackedBatch = {
    tokens,
    sequences: count,
    longest,
    prefix,
    ids: new BigInt64Array(tokens),
    positions: new BigInt64Array(tokens),
    slotRows: new BigInt64Array(count * longest),
    slotMask: new Float32Array(count * longest),
    rowSlots: new BigInt64Array(tokens),
    mask: new Float32Array(count * longest * (prefix + longest)).fill(MASKED),
    labelRows: new BigInt64Array(0),
    labels: new BigInt64Array(0),
  };
  const labelRows: bigint[] = [];
  const labels: bigint[] = [];
  let row = 0;
  for (const [s, { ids, labels: targets }] of sequences.entries()) {
    for (let t = 0; t < ids.length; t++, row++) {
      const slot = s * longest + t;
      batch.ids[row] = BigInt(ids[t]!);
      batch.positions[row] = BigInt(prefix + t);
      batch.slotRows[slot] = BigInt(row);
      batch.slotMask[slot] = 1;
      batch.rowSlots[row] = BigInt(slot);
      const next = t + 1 < ids.length ? targets[t + 1]! : IGNORED;
      if (next === IGNORED) continue;
      labelRows.push(BigInt(row));
      labels.push(BigInt(next));
    }
    for (let query = 0; query < longest; query++) {
      const last = prefix + Math.min(query, ids.length - 1);
      const first = slidingWindow === undefined ? 0 : Math.max(0, last - slidingWindow + 1);
      const at = (s * longest + query) * (prefix + longest);
      batch.mask.fill(0, at + first, at + last + 1);
    }
  }
  batch.labelRows = BigInt64Array.from(labelRows);
  batch.labels = BigInt64Array.from(labels);
  return batch;
}
