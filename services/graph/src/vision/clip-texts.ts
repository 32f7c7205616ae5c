import { Tensor as OrtTensor } from 'onnxruntime-node';
import type { TextTowerConfig } from '../models/clip-config.ts';
import { MASKED } from '../training/packing.ts';

/**
 * Texts as a text tower takes them, each filled up to the longest by its last token: what stands behind a text's end is
 * not seen from it.
 * @param texts tokens of each, begin and end tokens included
 * @returns `ids`, `positions` [B * T], `shape` [4], `mask` [T, T], `ends` [B]: the rows that stand for the texts
 * @throws RangeError for a text of no token or too many, and for a token outside the vocabulary
 */
export function textFeeds(
  text: TextTowerConfig,
  texts: readonly ArrayLike<number>[],
): Record<'ids' | 'positions' | 'shape' | 'mask' | 'ends', OrtTensor> {
  const longest = Math.max(0, ...texts.map(({ length }) => length));
  if (longest === 0 || longest > text.maxPositions || texts.some(({ length }) => length === 0))
    throw new RangeError(`a text has 1 to ${text.maxPositions} tokens, not ${longest}`);
  const tokens = texts.length * longest;
  const ids = new BigInt64Array(tokens);
  const positions = new BigInt64Array(tokens);
  for (const [row, own] of texts.entries()) {
    for (let t = 0; t < longest; t++) {
      const token = own[Math.min(t, own.length - 1)]!;
      if (!Number.isInteger(token) || token < 0 || token >= text.vocabSize)
        throw new RangeError(`token ${token} of text ${row} is outside the vocabulary of ${text.vocabSize}`);
      ids[row * longest + t] = BigInt(token);
      positions[row * longest + t] = BigInt(t);
    }
  }
  const mask = new Float32Array(longest * longest);
  for (let t = 0; t < longest; t++) mask.fill(MASKED, t * longest + t + 1, (t + 1) * longest);
  const ends = texts.map((own, row) => BigInt(row * longest + endOf(own, text.endToken)));
  return {
    ids: new OrtTensor('int64', ids, [tokens]),
    positions: new OrtTensor('int64', positions, [tokens]),
    shape: new OrtTensor(
      'int64',
      [texts.length, longest, text.heads, text.hiddenSize / text.heads].map(BigInt),
      [4],
    ),
    mask: new OrtTensor('float32', mask, [longest, longest]),
    ends: new OrtTensor('int64', ends, [ends.length]),
  };
}

/** Models that say the end token is 2 were made when the highest token was taken for the end, and still are read so. */
function endOf(tokens: ArrayLike<number>, endToken: number): number {
  const all = Array.from(tokens);
  if (endToken === 2) return all.indexOf(Math.max(...all));
  return Math.max(0, all.indexOf(endToken));
}
