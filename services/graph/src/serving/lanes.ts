import type { DecodeRow } from './cached-decoder.ts';

/** New tokens of a sequence that one place of a batch computes. */
export interface Lane {
  row: DecodeRow;
  /** Index of its first token within the row. */
  first: number;
  tokens: readonly number[];
  /** Index of its first token among those of the batch. */
  at: number;
}

/** Lanes of equally many tokens, computed in one run. */
export interface LaneBatch {
  lanes: Lane[];
  /** Tokens of a lane; shorter ones repeat their last, and nobody looks at the copies. */
  length: number;
}

/**
 * Tokens that are computed one at a time: every token is a lane of its own, which sees those of its row before it. Their
 * products have the shapes that decoding has, and so the very same bits, however many there are.
 */
function stepLanes(row: DecodeRow): Omit<Lane, 'at'>[] {
  return row.tokens.map((token, first) => ({ row, first, tokens: [token] }));
}

const isStep = (row: DecodeRow) => row.stepwise ?? row.tokens.length === 1;

/**
 * A prompt's tokens are computed in products of at least two: those of one alone go another way through the runtime and
 * may differ in the last bit.
 */
const chunkLength = (row: DecodeRow) => Math.max(2, row.tokens.length);

/**
 * Puts rows into batches that need no filling up: steps together, chunks with those as long.
 * @param tooUneven whether reading all lanes up to the longest context costs more than another run
 */
export function laneBatches(
  rows: readonly DecodeRow[],
  tooUneven: (wastedBlocks: number) => boolean,
  blockSize: number,
): LaneBatch[] {
  const byLength = Map.groupBy(rows, (row) => (isStep(row) ? 1 : chunkLength(row)));
  return [...byLength].flatMap(([length, own]) => {
    const lanes = own.flatMap((row) =>
      length === 1 ? stepLanes(row) : [{ row, first: 0, tokens: row.tokens }],
    );
    return byContext(lanes, tooUneven, blockSize).map((each) => numbered(each, length));
  });
}

export const contextBlocks = ({ row, first, tokens }: Omit<Lane, 'at'>, blockSize: number) =>
  Math.ceil((row.start + first + tokens.length) / blockSize);

const rowBlocks = ({ start, tokens }: DecodeRow, blockSize: number) =>
  Math.ceil((start + tokens.length) / blockSize);

/** Long contexts apart from short ones, where that is worth a run. */
function byContext<L extends Omit<Lane, 'at'>>(
  lanes: L[],
  tooUneven: (wastedBlocks: number) => boolean,
  blockSize: number,
): L[][] {
  // Of the whole row, so that a row's lanes stay together.
  const sizes = new Map(lanes.map((lane) => [lane, rowBlocks(lane.row, blockSize)]));
  const ordered = [...lanes].sort((a, b) => sizes.get(b)! - sizes.get(a)!);
  const longest = sizes.get(ordered[0]!)!;
  let best = 0;
  let saved = 0;
  for (let i = 1; i < ordered.length; i++) {
    const saves = (longest - sizes.get(ordered[i]!)!) * (ordered.length - i);
    if (saves > saved) [best, saved] = [i, saves];
  }
  if (best === 0 || !tooUneven(saved)) return [lanes];
  return [ordered.slice(0, best), ...byContext(ordered.slice(best), tooUneven, blockSize)];
}

export function numbered(lanes: Omit<Lane, 'at'>[], length: number): LaneBatch {
  return { length, lanes: lanes.map((lane, i) => ({ ...lane, at: i * length })) };
}

/**
 * A single token with an adapter is computed twice over: the adapter's products go another way for one row alone, and
 * its result would differ in the last bit from that in company.
 */
export function inCompany(batch: LaneBatch): LaneBatch {
  const [lane] = batch.lanes;
  if (batch.lanes.length > 1 || batch.length > 1 || lane!.row.adapterSlot === 0) return batch;
  return { ...batch, lanes: [lane!, { ...lane!, at: 1 }] };
}
