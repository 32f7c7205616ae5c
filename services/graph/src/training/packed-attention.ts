import { concat, maskedSoftmax, matmul, reshape, slice, transpose } from '../autodiff/ops.ts';
import type { Tape, Tensor } from '../autodiff/tape.ts';
import type { ModelConfig } from '../models/config.ts';
import type { Attention } from '../models/transformer.ts';
import type { Value } from '../onnx/graph.ts';
import type { LayerPrefix } from './prefix.ts';

/** The layout of a PackedBatch as graph values. */
export interface PackedLayout {
  slotRows: Value;
  slotMask: Value;
  rowSlots: Value;
  mask: Value;
  /** [B, T, -1, headDim] as int64 [4]. */
  slotShape: Value;
  /** Where each part of the queries begins and the last one ends, int64, of `queryParts`; absent for one part. */
  queryParts?: Value;
}

/** Parts that the queries of long sequences are taken in. */
export const PARTS = 4;
/** Sequences up to here are taken whole: smaller products are slower than what they spare. */
const WHOLE = 512;
/** Whether sequences of this length are taken in parts. */
export const isLong = (length: number): boolean => length > WHOLE;

/** Bounds of each part of `longest` queries. None is empty from PARTS queries on: a reshape takes 0 for another axis. */
export function queryParts(longest: number): BigInt64Array {
  return BigInt64Array.from({ length: PARTS + 1 }, (_, i) => BigInt(Math.floor((i * longest) / PARTS)));
}

/** Packed rows [N, d] into slots [B * T, d]; slots past an end hold what the mask hides. */
function toSlots(tape: Tape, x: Tensor, layout: PackedLayout): Tensor {
  const { graph } = tape;
  const gather = (value: Value, index: Value) => graph.node('Gather', [value, index], { axis: { int: 0 } });
  // Each row has one slot, and slots past an end get no gradient: the sum over slots is a look-up.
  return tape.record(gather(x, layout.slotRows), [x], (dy) => [gather(dy, layout.rowSlots)]);
}

/** Slots back to packed rows. */
function toRows(tape: Tape, x: Tensor, layout: PackedLayout): Tensor {
  const { graph } = tape;
  const gather = (value: Value, index: Value) => graph.node('Gather', [value, index], { axis: { int: 0 } });
  return tape.record(gather(x, layout.rowSlots), [x], (dy) => [
    graph.node('Mul', [gather(dy, layout.slotRows), layout.slotMask]),
  ]);
}

/** What one part of the queries sees. */
interface Part {
  /** int64 [1]: its queries, and the end of the keys that they may look at. */
  begin: Value;
  end: Value;
  keysEnd: Value;
  /** Of its scores, by head and for all heads of a group under one another. */
  perHead: Value;
  together: Value;
  mask: Value;
}

/**
 * Causal attention within each sequence of a packed batch. Queries that share a key/value head are put under one
 * another, so keys and values are never repeated. Long sequences are taken a part of the queries at a time, each with
 * the keys up to its last query only, so that half of the square is never computed.
 * @param prefix keys and values, as they are, that every sequence sees before its own; the mask has columns for them
 * @param again computes probabilities again in the backward pass instead of keeping a square of the length (as Dao et
 *   al. 2022)
 */
export function packedAttention(
  tape: Tape,
  config: ModelConfig,
  layout: PackedLayout,
  prefix?: { tokens: number; layer: (layer: number) => LayerPrefix },
  again = false,
): Attention {
  const { graph } = tape;
  const { heads, keyValueHeads, headDim } = config;
  const group = heads / keyValueHeads;
  const join = (...values: Value[]) => graph.node('Concat', values, { axis: { int: 0 } });
  const at = (value: Value, index: number) =>
    graph.node('Slice', [value, graph.ints([index]), graph.ints([index + 1])]);
  const [batch, longest] = [at(layout.slotShape, 0), at(layout.slotShape, 1)];
  const own = graph.ints([keyValueHeads, group]);
  // [B, T, kv, group, headDim], with the batch's own B and T in front.
  const queryShape = join(batch, longest, own, graph.ints([headDim]));
  const outShape = join(batch, own, longest, graph.ints([headDim]));
  const joined = graph.ints([0, 0, -1, headDim]);
  const flatQueries = graph.ints([-1, heads * headDim]);
  const flatKeys = graph.ints([-1, keyValueHeads * headDim]);
  const prefixLengths = prefix && join(graph.ints([prefix.tokens]), longest);
  const scale = 1 / Math.sqrt(headDim);
  const parts = layout.queryParts ? PARTS : 1;
  const seen: Part[] = Array.from({ length: parts }, (_, i) => part(i));

  return {
    attend(layer, q, k, v) {
      const before = prefix?.layer(layer);
      const keys = keyValue(k, before?.keys);
      const values = keyValue(v, before?.values);
      // [B, kv, group, T, headDim]
      const grouped = transpose(
        tape,
        reshape(tape, toSlots(tape, q, layout), queryShape, flatQueries),
        [0, 2, 3, 1, 4],
      );
      const mixed =
        parts === 1
          ? reshape(tape, whole(reshape(tape, grouped, joined, outShape), keys, values), outShape, joined)
          : seen.map((one) => partly(one, grouped, keys, values)).reduce(following);
      const byPosition = transpose(tape, mixed, [0, 3, 1, 2, 4]);
      return toRows(tape, reshape(tape, byPosition, flatQueries, queryShape), layout);
    },
  };

  function part(index: number): Part {
    const begin = layout.queryParts ? at(layout.queryParts, index) : graph.ints([0]);
    const end = layout.queryParts ? at(layout.queryParts, index + 1) : longest;
    const length = layout.queryParts ? graph.node('Sub', [end, begin]) : longest;
    const keysEnd = prefix ? graph.node('Add', [end, graph.ints([prefix.tokens])]) : end;
    return {
      begin,
      end,
      keysEnd,
      perHead: join(batch, own, length, graph.ints([-1])),
      together: join(graph.ints([0, 0, -1]), keysEnd),
      mask: layout.queryParts ? seenMask(begin, end, keysEnd) : layout.mask,
    };
  }

  function seenMask(begin: Value, end: Value, keysEnd: Value): Value {
    const [from, to] = [join(begin, graph.ints([0])), join(end, keysEnd)];
    return graph.node('Slice', [layout.mask, from, to, graph.ints([3, 4])]);
  }

  /** [B, kv, P + T, headDim] */
  function keyValue(x: Tensor, before: Tensor | undefined): Tensor {
    const rows = reshape(tape, toSlots(tape, x, layout), layout.slotShape, flatKeys);
    const slots = transpose(tape, rows, [0, 2, 1, 3]);
    return before ? concat(tape, before, slots, 2, prefixLengths!) : slots;
  }

  function whole(queries: Tensor, keys: Tensor, values: Tensor): Tensor {
    const mix = (x: Tensor) => mixture(seen[0]!, x, keys, values);
    return again ? tape.checkpoint(queries, mix) : mix(queries);
  }

  function partly(one: Part, grouped: Tensor, keys: Tensor, values: Tensor): Tensor {
    const zero = graph.ints([0]);
    const queries = slice(tape, grouped, one.begin, one.end, 3);
    const rows = reshape(tape, queries, joined);
    const [near, nearValues] = [keys, values].map((x) => slice(tape, x, zero, one.keysEnd, 2));
    const mix = (x: Tensor) => mixture(one, x, near!, nearValues!);
    const mixed = again ? tape.checkpoint(rows, mix) : mix(rows);
    return reshape(tape, mixed, graph.node('Shape', [queries]), joined);
  }

  /** The parts' results one after the other. */
  function following(a: Tensor, b: Tensor, index: number): Tensor {
    const { begin, end } = seen[index]!;
    return concat(tape, a, b, 3, join(begin, graph.node('Sub', [end, begin])));
  }

  /** softmax(scale * q k^T + mask) v; q [B, kv, group * T, headDim] */
  function mixture({ perHead, together, mask }: Part, q: Tensor, keys: Tensor, values: Tensor): Tensor {
    const scores = matmul(tape, q, keys, { transB: true, alpha: scale });
    const probabilities = maskedSoftmax(tape, reshape(tape, scores, perHead, together), mask);
    return matmul(tape, reshape(tape, probabilities, together, perHead), values);
  }
}
