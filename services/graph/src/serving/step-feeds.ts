import { Tensor as OrtTensor } from 'onnxruntime-node';
import type { ModelConfig } from '../models/config.ts';
import type { RopeTables } from '../models/rope.ts';
import { MASKED } from '../training/packing.ts';
import type { AdapterBank } from './adapter-bank.ts';
import type { GraphKind } from './decoder-graph.ts';
import type { KeyValuePool } from './key-value-pool.ts';
import { contextBlocks, type LaneBatch } from './lanes.ts';
import { contextOf, type HeldContexts } from './running-contexts.ts';
import { bool, int64 } from './tensors.ts';

/** What stays the same from step to step. */
export interface FeedSource {
  config: ModelConfig;
  pool: KeyValuePool;
  rope: RopeTables;
  bank: AdapterBank;
  /** Whether the graphs take images. */
  images: boolean;
}

/**
 * The inputs of one run of the decoder's graph.
 * @param logitRows tokens of the batch whose logits are asked for
 * @param kind of the graph, which must be for such a batch
 * @param held contexts of the lanes, for lanes that are their rows' one new token
 */
export function stepFeeds(
  source: FeedSource,
  batch: LaneBatch,
  logitRows: readonly number[],
  kind: GraphKind,
  held: HeldContexts | undefined,
): Record<string, OrtTensor> {
  const { pool, config } = source;
  const { lanes, length } = batch;
  const tokens = lanes.length * length;
  const writes = laneWrites(batch);
  const past = Math.max(...writes.positions.map((at) => Math.ceil((at + writes.count) / pool.blockSize)));
  const feeds: Record<string, OrtTensor> = {
    ...tokenFeeds(source, batch, kind),
    attention_mask: maskFeed(config, batch, held?.size ?? past * pool.blockSize),
    own_places: placeFeed(config, batch),
    logit_rows: int64(logitRows, [logitRows.length]),
    ...(held?.feeds ?? noContexts(pool)),
  };
  if (kind.adapted.length > 0) Object.assign(feeds, source.bank.feeds(slotsOf(batch), kind.adapted));
  if (kind.takes !== 'steps') {
    Object.assign(feeds, {
      are_steps: bool(length === 1),
      are_held: bool(held !== undefined),
      ...poolFeeds(pool, held ? { ...batch, lanes: [] } : batch, past),
      write_tokens: int64(writes.tokens, [lanes.length, writes.count]),
      write_others: new OrtTensor('float32', writes.others, [lanes.length, 1, writes.count, 1]),
      write_positions: int64(writes.positions, [lanes.length]),
      query_shape: int64([lanes.length, length, config.heads, config.headDim], [4]),
    });
    if (source.images) Object.assign(feeds, imageFeeds(config.hiddenSize, batch));
  }
  if (kind.precision === 'int8') {
    feeds.int8_middles = middles(tokens);
    feeds.int8_head_middles = middles(logitRows.length);
  }
  return feeds;
}

/** Whether every lane is the one new token of its row. */
export function ofSingles({ lanes, length }: LaneBatch): boolean {
  return length === 1 && lanes.every(({ row }) => row.tokens.length === 1);
}

/** Whether every lane is that, with nothing of an image in it or asked of it. */
export function ofSteps(batch: LaneBatch): boolean {
  return ofSingles(batch) && batch.lanes.every(({ row }) => !row.images?.length && !row.looks);
}

function tokenFeeds(
  { config, rope }: FeedSource,
  { lanes, length }: LaneBatch,
  kind: GraphKind,
): Record<string, OrtTensor> {
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
  const shape = kind.takes === 'steps' ? [count, 1, half] : [1, count, half];
  return {
    input_ids: new OrtTensor('int64', ids, [count]),
    cos: new OrtTensor('float32', cos, shape),
    sin: new OrtTensor('float32', sin, shape),
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

/** What stands in the place of tokens, lane by lane; a token that is repeated to fill a lane up is looked at by nobody. */
function imageFeeds(hiddenSize: number, { lanes }: LaneBatch): Record<string, OrtTensor> {
  const rows: number[] = [];
  const parts: Float32Array[] = [];
  for (const { row, first, tokens, at } of lanes) {
    for (const { from, tokens: image } of row.images ?? []) {
      const begin = Math.max(from, first);
      const end = Math.min(from + image.length / hiddenSize, first + tokens.length);
      for (let t = begin; t < end; t++) rows.push(at + t - first);
      if (begin < end) parts.push(image.subarray((begin - from) * hiddenSize, (end - from) * hiddenSize));
    }
  }
  const joined = new Float32Array(rows.length * hiddenSize);
  let length = 0;
  for (const part of parts) {
    joined.set(part, length);
    length += part.length;
  }
  return {
    image_rows: int64(rows, [rows.length, 1]),
    image_tokens: new OrtTensor('float32', joined, [rows.length, hiddenSize]),
  };
}

/**
 * What each lane writes among the keys that it reads: a chunk its own tokens; a step all those of its row, of which the
 * mask hides the later ones. Equally many for all, so that shorter ones go on with their last, behind what they look at.
 */
function laneWrites({ lanes, length }: LaneBatch): LaneWrites {
  const count = length > 1 ? length : Math.max(...lanes.map(({ row }) => row.tokens.length));
  const writes: LaneWrites = {
    count,
    tokens: [],
    positions: [],
    others: new Float32Array(lanes.length * count),
  };
  writes.others.fill(1);
  for (const [l, { row, first, tokens: own, at }] of lanes.entries()) {
    const begin =
      length > 1 ? { at, first, size: own.length } : { at: at - first, first: 0, size: row.tokens.length };
    writes.positions.push(row.start + begin.first);
    for (let t = 0; t < count; t++) writes.tokens.push(begin.at + Math.min(t, begin.size - 1));
    if (length === 1) writes.others[l * count + first] = 0;
  }
  return writes;
}

/** See the inputs `write_...` of the graph. */
interface LaneWrites {
  count: number;
  tokens: number[];
  positions: number[];
  others: Float32Array;
}

function maskFeed(config: ModelConfig, { lanes, length }: LaneBatch, size: number): OrtTensor {
  const mask = new Float32Array(lanes.length * length * size).fill(MASKED);
  for (const { row, first, tokens, at } of lanes) {
    for (let t = 0; t < length; t++) {
      const position = row.start + first + Math.min(t, tokens.length - 1);
      const seen = config.slidingWindow === undefined ? 0 : Math.max(0, position - config.slidingWindow + 1);
      const from = (at + t) * size;
      mask.fill(0, from + seen, from + position + 1);
    }
  }
  return new OrtTensor('float32', mask, [lanes.length, 1, length, size]);
}

/** Position of each lane's first token, once for each head. */
function placeFeed({ heads, keyValueHeads }: ModelConfig, { lanes }: LaneBatch): OrtTensor {
  const places = lanes.flatMap(({ row, first }) => new Array<number>(heads).fill(row.start + first));
  return int64(places, [lanes.length, keyValueHeads, heads / keyValueHeads, 1]);
}

const empties = new WeakMap<KeyValuePool, Record<string, OrtTensor>>();

/** What stands for contexts where none is read. */
function noContexts(pool: KeyValuePool): Record<string, OrtTensor> {
  let feeds = empties.get(pool);
  if (!feeds) {
    const { sides, heads, headDim } = pool;
    const nothing = new OrtTensor('float32', new Float32Array(0), [0, heads, 0, headDim]);
    feeds = Object.fromEntries(Array.from({ length: sides }, (_, side) => [contextOf(side), nothing]));
    empties.set(pool, feeds);
  }
  return feeds;
}

/** Adapter of each token, those that fill a lane up included. */
function slotsOf({ lanes, length }: LaneBatch): number[] {
  return lanes.flatMap(({ row }) => new Array<number>(length).fill(row.adapterSlot));
}

const middles = (count: number) => new OrtTensor('uint8', new Uint8Array(count).fill(128), [count, 1]);
