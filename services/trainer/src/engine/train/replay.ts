import { permutation, randomOf } from '@landfall/metrics/random.ts';

/** How earlier rows are mixed into a run's own. */
export interface ReplayShape {
  own: number;
  earlier: number;
  /** Earlier rows an epoch. */
  drawn: number;
  seed: bigint;
}

/** Earlier rows an epoch, so that they are this share of all of its rows. */
export function replayRows(own: number, earlier: number, share: number): number {
  return earlier === 0 || share === 0 ? 0 : Math.max(1, Math.round((own * share) / (1 - share)));
}

/**
 * The row that an epoch's index stands for: own rows first, then earlier ones from `own` on. Each epoch goes on through
 * a permutation of the earlier rows where the epoch before has ended, so that all are seen before one comes again.
 */
export function replayedRow(
  { own, earlier, drawn, seed }: ReplayShape,
  index: number,
  epoch: number,
): number {
  if (index < own) return index;
  const at = epoch * drawn + (index - own);
  const round = Math.floor(at / earlier);
  return own + orderOf(earlier, seed, round)[at % earlier]!;
}

let last: { key: string; order: Uint32Array } | undefined;

function orderOf(rows: number, seed: bigint, round: number): Uint32Array {
  const key = `${rows}/${seed}/${round}`;
  if (last?.key !== key) last = { key, order: permutation(rows, randomOf(seed, 'replay', round)) };
  return last.order;
}
