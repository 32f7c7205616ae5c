import type { Tape } from '../autodiff/tape.ts';
import type { ModelConfig } from '../models/config.ts';
import type { Attention } from '../models/transformer.ts';
import type { OnnxGraph, Value } from '../onnx/graph.ts';
import { queriesOf } from './image-attention.ts';

const BY_ROW = { axis: { int: 0 } } as const;
const SWAPPED = { perm: { ints: [0, 2, 1, 3] } } as const;

/** As KeyValuePool has them. */
interface PoolShape {
  blocks: number;
  blockSize: number;
}

/**
 * Attention over what a lane reads of the pool, its new tokens put among it at their own positions: a key's place does
 * not depend on the other lanes, and so neither does a bit of the result.
 * @param fresh takes the new keys and values of each layer, [N, kv heads, headDim]
 * @param looking layers whose queries are given out
 */
export function pooledAttention(
  tape: Tape,
  config: ModelConfig,
  pool: PoolShape,
  fresh: Value[],
  looking: readonly number[],
): Attention {
  const { graph } = tape;
  const { heads, keyValueHeads, headDim } = config;
  const writeTokens = graph.input('write_tokens', 'int64', ['B', 'M']);
  const queryShape = graph.input('query_shape', 'int64', [4]);
  const part = (from: number) =>
    graph.node('Slice', [queryShape, graph.ints([from]), graph.ints([from + 1])]);
  const { withPast, attend } = poolReader(graph, config, pool, part(0));
  const mixedShape = joined(graph, graph.ints([0, 0]), part(1), graph.ints([-1]));
  const own = (added: Value) =>
    graph.node('Transpose', [graph.node('Gather', [added, writeTokens], BY_ROW)], SWAPPED);
  return {
    attend(layer, q, k, v) {
      const added = [k, v].map((x) => graph.node('Reshape', [x, graph.ints([-1, keyValueHeads, headDim])]));
      fresh.push(...added);
      if (looking.includes(layer))
        graph.output(graph.node('Reshape', [q, graph.ints([-1, heads * headDim])]), queriesOf(layer));
      const byHead = graph.node('Transpose', [graph.node('Reshape', [q, queryShape])], SWAPPED);
      const queries = graph.node('Reshape', [byHead, graph.ints([0, 0, -1, headDim])]);
      const [keys, values] = added.map((x, side) => withPast(2 * layer + side, own(x)));
      const mixed = attend(queries, keys!, values!);
      const byToken = graph.node('Transpose', [graph.node('Reshape', [mixed, mixedShape])], SWAPPED);
      return tape.constant(graph.node('Reshape', [byToken, graph.ints([-1, heads * headDim])]));
    },
  };
}

/**
 * The same for lanes of one token each, which writes itself alone: nothing has to change places then, and the products
 * are those of `pooledAttention` with the same shapes.
 *
 * Its queries, keys and values come as [N, heads, 1, headDim].
 */
export function stepAttention(
  tape: Tape,
  config: ModelConfig,
  pool: PoolShape,
  fresh: Value[],
  ids: Value,
): Attention {
  const { graph } = tape;
  const { heads, keyValueHeads, headDim } = config;
  const { withPast, attend } = poolReader(graph, config, pool, graph.node('Shape', [ids]));
  const groups = graph.ints([-1, keyValueHeads, heads / keyValueHeads, headDim]);
  return {
    attend(layer, q, k, v) {
      fresh.push(k, v);
      const queries = graph.node('Reshape', [q, groups]);
      const mixed = attend(queries, withPast(2 * layer, k), withPast(2 * layer + 1, v));
      return tape.constant(graph.node('Reshape', [mixed, graph.ints([-1, heads * headDim])]));
    },
  };
}

/** @param lanes how many there are [1] */
function poolReader(graph: OnnxGraph, config: ModelConfig, { blocks, blockSize }: PoolShape, lanes: Value) {
  const { keyValueHeads, headDim, layers } = config;
  const sides = 2 * layers;
  const pool = graph.input('pool', 'float32', [sides * keyValueHeads * blocks, blockSize * headDim]);
  const blockRows = graph.input('block_rows', 'int64', ['B', keyValueHeads, 'P']);
  const writePositions = graph.input('write_positions', 'int64', ['B']);
  const mask = graph.input('attention_mask', 'float32', ['B', 1, 'Q', 'S']);
  const keyShape = joined(graph, lanes, graph.ints([keyValueHeads, -1, headDim]));
  // Of every side at once: one by one they would be as many small operations.
  const sideRows = graph.nodes(
    'Split',
    [graph.node('Add', [blockRows, graph.ints(range(sides, keyValueHeads * blocks), [sides, 1, 1, 1])])],
    sides,
    { axis: { int: 0 }, num_outputs: { int: sides } },
  );
  return {
    /** What a side has of each lane with `own` [B, kv heads, M, headDim] put among it. */
    withPast(side: number, own: Value): Value {
      const read = graph.node('Reshape', [graph.node('Gather', [pool, sideRows[side]!], BY_ROW), keyShape]);
      // The new ones are written in place, and not into a copy, only where the shape has names.
      const past = graph.shape(read, 'float32', ['B', keyValueHeads, 'S', headDim]);
      return graph.node('TensorScatter', [past, own, writePositions], { axis: { int: 2 } });
    },
    attend(queries: Value, keys: Value, values: Value): Value {
      return graph.node('Attention', [queries, keys, values, mask], { scale: 1 / Math.sqrt(headDim) });
    },
  };
}

/** 0, step, 2 step ... */
function range(count: number, step: number): number[] {
  return Array.from({ length: count }, (_, i) => i * step);
}

function joined(graph: OnnxGraph, ...parts: Value[]): Value {
  return graph.node('Concat', parts, { axis: { int: 0 } });
}
