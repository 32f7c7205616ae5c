import type { DecodeRow } from './cached-decoder.ts';

export interface RowLimits {
  vocabSize: number;
  /** Positions that there are angles for. */
  positions: number;
  blocks: number;
  blockSize: number;
  /** Adapter slots, the base's included. */
  slots: number;
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
  { tokens, start, blockTable, adapterSlot }: DecodeRow,
  limits: RowLimits,
): string | undefined {
  const { vocabSize, positions, blocks, blockSize, slots } = limits;
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
  return below(adapterSlot, slots) ? undefined : `adapter slot ${adapterSlot} of ${slots - 1}`;
}
