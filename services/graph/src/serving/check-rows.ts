import type { DecodeRow } from './cached-decoder.ts';

export interface RowLimits {
  vocabSize: number;
  /** Positions that there are angles for. */
  positions: number;
  blocks: number;
  blockSize: number;
  /** Virtual tokens of each adapter slot, the base's included. */
  prefixes: readonly number[];
}

/** @throws RangeError that names the row and what it asks for */
export function checkRows(rows: readonly DecodeRow[], limits: RowLimits): void {
  if (rows.length === 0) throw new RangeError('a step needs at least one row');
  for (const [r, row] of rows.entries()) {
    const problem = problemOf(row, limits);
    if (problem) throw new RangeError(`row ${r}: ${problem}`);
  }
}

function problemOf(
  { tokens, start, blockTable, adapterSlot, targets }: DecodeRow,
  limits: RowLimits,
): string | undefined {
  const { vocabSize, positions, blocks, blockSize, prefixes } = limits;
  const below = (n: number, end: number) => Number.isInteger(n) && n >= 0 && n < end;
  if (tokens.length === 0) return 'no tokens';
  const outside = tokens.find((token) => !below(token, vocabSize));
  if (outside !== undefined) return `token ${outside} of a vocabulary of ${vocabSize}`;
  if (!below(start, positions) || start + tokens.length > positions)
    return `${tokens.length} tokens from position ${start} on; there are ${positions} positions`;
  const needed = Math.ceil((start + tokens.length) / blockSize);
  if (blockTable.length < needed) return `${blockTable.length} blocks where ${needed} are needed`;
  const missing = blockTable.slice(0, needed).find((block) => !below(block, blocks));
  if (missing !== undefined) return `block ${missing} of a pool of ${blocks}`;
  if (!below(adapterSlot, prefixes.length)) return `adapter slot ${adapterSlot} of ${prefixes.length - 1}`;
  if (start < prefixes[adapterSlot]!)
    return `position ${start} lies in the adapter's ${prefixes[adapterSlot]} virtual tokens`;
  if (!targets) return undefined;
  if (targets.length === 0 || targets.length > tokens.length)
    return `${targets.length} targets for ${tokens.length} tokens`;
  const unknown = targets.find((token) => !below(token, vocabSize));
  return unknown === undefined ? undefined : `target ${unknown} of a vocabulary of ${vocabSize}`;
}
