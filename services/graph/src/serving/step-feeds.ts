import { Tensor as OrtTensor } from 'onnxruntime-node';
import type { ModelConfig } from '../models/config.ts';
import type { RopeTables } from '../models/rope.ts';
import { MASKED } from '../training/packing.ts';
import type { AdapterBank } from './adapter-bank.ts';
import type { KeyValuePool } from './key-value-pool.ts';
import { contextBlocks, type LaneBatch } from './lanes.ts';
import type { ServingPrecision } from './packed-weights.ts';

/** What stays the same from step to step. */
export interface FeedSource {
  config: ModelConfig;
  pool: KeyValuePool;
  rope: RopeTables;
  bank: AdapterBank;
  precision: ServingPrecision;
}

/**
 * The inputs of one run of the decoder's graph.
 * @param logitRows tokens of the batch whose logits are asked for
 */
export function stepFeeds(
  source: FeedSource,
  batch: LaneBatch,
  logitRows: readonly number[],
): Record<string, OrtTensor> {
  const { pool, config, precision } = source;
  const { lanes, length } = batch;
  const tokens = lanes.length * length;
  const past = Math.max(...lanes.map((lane) => contextBlocks(lane, pool.blockSize)));
  const feeds: Record<string, OrtTensor> = {
    ...tokenFeeds(source, batch),
    ...poolFeeds(pool, batch, past),
    ...writeFeeds(pool, batch, past),
    attention_mask: maskFeed(config, batch, past * pool.blockSize),
    logit_rows: int64(logitRows, [logitRows.length]),
    row_shape: int64([lanes.length, length], [2]),
    ...adapterFeeds(source.bank, config.layers, batch),
  };
  if (precision === 'int8') {
    feeds.int8_middles = middles(tokens);
    feeds.int8_head_middles = middles(logitRows.length);
  }
  return feeds;
}

function tokenFeeds({ config, rope }: FeedSource, { lanes, length }: LaneBatch): Record<string, OrtTensor> {
  const half = config.headDim / 2;
  const count = lanes.length * length;
  const ids = new BigInt64Array(count);
  const cos = new Float32Array(count * half);
  const sin = new Float32Array(count * half);
  for (const { row, first, tokens, at } of lanes) {
    for (let t = 0; t < length; t++) {
      const real = Math.min(t, tokens.length - 1);
      const position = row.start + first + real;
      ids[at + t] = BigInt(tokens[real]!);
      cos.set(rope.cos.subarray(position * half, (position + 1) * half), (at + t) * half);
      sin.set(rope.sin.subarray(position * half, (position + 1) * half), (at + t) * half);
    }
  }
  return {
    input_ids: new OrtTensor('int64', ids, [count]),
    cos: new OrtTensor('float32', cos, [1, count, half]),
    sin: new OrtTensor('float32', sin, [1, count, half]),
  };
}

function poolFeeds(pool: KeyValuePool, { lanes }: LaneBatch, past: number): Record<string, OrtTensor> {
  const { blocks, blockSize, heads, sides, headDim, data } = pool;
  const rows = new BigInt64Array(lanes.length * heads * past);
  for (const [l, lane] of lanes.entries()) {
    const own = contextBlocks(lane, blockSize);
    for (let p = 0; p < past; p++) {
      // Past its end a lane looks, masked, at its own first block: 0 times another's overflow would not be 0.
      const block = lane.row.blockTable[p < own ? p : 0]!;
      for (let head = 0; head < heads; head++)
        rows[(l * heads + head) * past + p] = BigInt(head * blocks + block);
    }
  }
  return {
    pool: new OrtTensor('float32', data, [sides * heads * blocks, blockSize * headDim]),
    block_rows: new OrtTensor('int64', rows, [lanes.length, heads, past]),
  };
}

/** Where the new keys and values go among those that each lane reads: its own, and those of its row before it. */
function writeFeeds(
  { heads, blockSize }: KeyValuePool,
  { lanes, length }: LaneBatch,
  past: number,
): Record<string, OrtTensor> {
  const size = past * blockSize;
  const rows: number[] = [];
  const source: number[] = [];
  for (const [l, { row, first, tokens, at }] of lanes.entries()) {
    // Lanes of one row follow one another, a token each.
    const before = length === 1 ? first : 0;
    for (let t = -before; t < tokens.length; t++) {
      for (let head = 0; head < heads; head++) {
        rows.push((l * heads + head) * size + row.start + first + t);
        source.push((at + t) * heads + head);
      }
    }
  }
  return { write_rows: int64(rows, [rows.length, 1]), write_source: int64(source, [source.length]) };
}

function maskFeed(config: ModelConfig, { lanes, length }: LaneBatch, size: number): OrtTensor {
  const mask = new Float32Array(lanes.length * length * size).fill(MASKED);
  for (const { row, first, tokens, at } of lanes) {
    for (let t = 0; t < length; t++) {
      const position = row.start + first + Math.min(t, tokens.length - 1);
      const seen = config.slidingWindow === undefined ? 0 : Math.max(0, position - config.slidingWindow + 1);
      mask.fill(0, (at + t) * size + seen, (at + t) * size + position + 1);
    }
  }
  return new OrtTensor('float32', mask, [lanes.length, 1, length, size]);
}

function adapterFeeds(
  bank: AdapterBank,
  layers: number,
  { lanes, length }: LaneBatch,
): Record<string, OrtTensor> {
  const slots = lanes.flatMap(({ row }) => new Array<number>(length).fill(row.adapterSlot));
  const feeds: Record<string, OrtTensor> = {};
  for (const [kind, { a, b, rows: held, inputs, outputs }] of bank.groups) {
    const { rows, selected } = bank.select(kind, slots);
    feeds[`a:${kind}`] = new OrtTensor('float32', a, [held * layers, inputs]);
    feeds[`b:${kind}`] = new OrtTensor('float32', b, [held * layers, outputs]);
    feeds[`rows:${kind}`] = new OrtTensor('int64', rows, [rows.length]);
    feeds[`selected:${kind}`] = new OrtTensor('float32', selected, [slots.length, rows.length]);
  }
  return feeds;
}

const middles = (count: number) => new OrtTensor('uint8', new Uint8Array(count).fill(128), [count]);

function int64(values: readonly number[], shape: number[]): OrtTensor {
  return new OrtTensor('int64', BigInt64Array.from(values, BigInt), shape);
}
