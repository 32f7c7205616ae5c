/**
 * What tokens look at, from the queries that the decoder's graph gives out and the keys that lie in the pool: the attention
 * of the very pass that serves, adapters and quantisation included, without a second copy of the weights.
 */

import type { ModelConfig } from '../models/config.ts';
import type { KeyValuePool } from './key-value-pool.ts';

/** Which tokens of a row are asked, and where they may look. */
export interface Looks {
  /** Indices of the row's tokens. */
  queries: readonly number[];
  /** Positions of the sequence that are told of, each before the row's last token. */
  over: readonly { from: number; count: number }[];
}

/** The later half of the layers: the earlier ones look at what is near rather than at what is meant. */
export function lookingLayers({ layers }: ModelConfig): number[] {
  const first = Math.floor(layers / 2);
  return Array.from({ length: layers - first }, (_, i) => first + i);
}

/** The name under which the graph gives out a layer's queries. */
export const queriesOf = (layer: number) => `queries:${layer}`;

/**
 * Shares of attention of each query at the positions told of, in the mean over heads and `lookingLayers`. The rest of 1 is
 * at other positions.
 * @param row whose keys are in the pool up to its last token
 * @param given queries of each looking layer [N, heads * headDim]; the row's first token is the one `at`
 * @returns [queries, positions told of]
 */
export function imageAttention(
  config: ModelConfig,
  pool: KeyValuePool,
  { start, blockTable }: { start: number; blockTable: readonly number[] },
  { queries, over }: Looks,
  given: { queries: readonly Float32Array[]; at: number },
): Float32Array {
  const { heads, keyValueHeads, headDim, slidingWindow } = config;
  const layers = lookingLayers(config);
  const width = over.reduce((sum, { count }) => sum + count, 0);
  const shares = new Float32Array(queries.length * width);
  const scale = 1 / Math.sqrt(headDim);
  for (const [i, query] of queries.entries()) {
    const end = start + query + 1;
    const begin = slidingWindow === undefined ? 0 : Math.max(0, end - slidingWindow);
    const scores = new Float32Array(end);
    const own = shares.subarray(i * width, (i + 1) * width);
    for (const [l, layer] of layers.entries()) {
      for (let head = 0; head < heads; head++) {
        const from = ((given.at + query) * heads + head) * headDim;
        const vector = given.queries[l]!.subarray(from, from + headDim);
        const keyHead = Math.floor(head / (heads / keyValueHeads));
        pool.dotKeys(layer, keyHead, blockTable, vector, scores, [begin, end]);
        softmax(scores.subarray(begin), scale);
        let to = 0;
        for (const part of over)
          for (let p = part.from; p < part.from + part.count; p++, to++)
            if (p >= begin && p < end) own[to]! += scores[p]! / (layers.length * heads);
      }
    }
  }
  return shares;
}

/** softmax(scale * x) in the place of x */
function softmax(x: Float32Array, scale: number): void {
  let most = Number.NEGATIVE_INFINITY;
  for (const value of x) if (value > most) most = value;
  let sum = 0;
  for (let i = 0; i < x.length; i++) {
    x[i] = Math.exp(scale * (x[i]! - most));
    sum += x[i]!;
  }
  for (let i = 0; i < x.length; i++) x[i]! /= sum;
}
