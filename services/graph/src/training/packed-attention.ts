import { concat, maskedSoftmax, matmul, reshape, transpose } from '../autodiff/ops.ts';
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

/**
 * Causal attention within each sequence of a packed batch. Queries that share a key/value head are put under one
 * another, so keys and values are never repeated.
 * @param prefix keys and values, as they are, that every sequence sees before its own; the mask has columns for them
 */
export function packedAttention(
  tape: Tape,
  config: ModelConfig,
  layout: PackedLayout,
  prefix?: { tokens: number; layer: (layer: number) => LayerPrefix },
): Attention {
  const { graph } = tape;
  const { heads, keyValueHeads, headDim } = config;
  const group = heads / keyValueHeads;
  // [B, T, kv, group, headDim], with the batch's own B and T in front.
  const front = graph.node('Slice', [layout.slotShape, graph.ints([0]), graph.ints([2])]);
  const queryShape = graph.node('Concat', [front, graph.ints([keyValueHeads, group, headDim])], {
    axis: { int: 0 },
  });
  const joined = graph.ints([0, 0, -1, headDim]);
  const scale = 1 / Math.sqrt(headDim);
  return {
    attend(layer, q, k, v) {
      const own = prefix?.layer(layer);
      const keyValue = (x: Tensor, before: Tensor | undefined) => {
        const slots = transpose(
          tape,
          reshape(tape, toSlots(tape, x, layout), layout.slotShape),
          [0, 2, 1, 3],
        );
        if (!before) return slots;
        const length = graph.node('Slice', [layout.slotShape, graph.ints([1]), graph.ints([2])]);
        const lengths = graph.node('Concat', [graph.ints([prefix!.tokens]), length], { axis: { int: 0 } });
        return concat(tape, before, slots, 2, lengths);
      };
      const keys = keyValue(k, own?.keys);
      const values = keyValue(v, own?.values);
      const grouped = transpose(tape, reshape(tape, toSlots(tape, q, layout), queryShape), [0, 2, 3, 1, 4]);
      const queries = reshape(tape, grouped, joined);
      // [B, kv, group * T, T]
      const scores = matmul(tape, queries, keys, { transB: true, alpha: scale });
      const perHead = (x: Tensor, last: Value) => reshape(tape, x, last);
      const separate = graph.node(
        'Concat',
        [
          graph.node('Slice', [front, graph.ints([0]), graph.ints([1])]),
          graph.ints([keyValueHeads, group]),
          graph.node('Slice', [front, graph.ints([1]), graph.ints([2])]),
          graph.ints([-1]),
        ],
        { axis: { int: 0 } },
      );
      const probabilities = maskedSoftmax(tape, perHead(scores, separate), layout.mask);
      const together = graph.node('Shape', [scores]);
      const mixed = matmul(tape, perHead(probabilities, together), values);
      const outShape = graph.node(
        'Concat',
        [
          graph.node('Slice', [front, graph.ints([0]), graph.ints([1])]),
          graph.ints([keyValueHeads, group]),
          graph.node('Slice', [front, graph.ints([1]), graph.ints([2])]),
          graph.ints([headDim]),
        ],
        { axis: { int: 0 } },
      );
      const byPosition = transpose(tape, reshape(tape, mixed, outShape), [0, 3, 1, 2, 4]);
      const flat = reshape(tape, byPosition, graph.ints([-1, heads * headDim]));
      return toRows(tape, flat, layout);
    },
  };
}
