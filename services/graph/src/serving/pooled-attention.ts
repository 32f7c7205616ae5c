import type { Tape } from '../autodiff/tape.ts';
import type { ModelConfig } from '../models/config.ts';
import type { Attention } from '../models/transformer.ts';
import type { OnnxGraph, Value } from '../onnx/graph.ts';
import { queriesOf } from './image-attention.ts';
import { contextOf } from './running-contexts.ts';

const BY_ROW = { axis: { int: 0 } } as const;
const SWAPPED = { perm: { ints: [0, 2, 1, 3] } } as const;

/** As KeyValuePool has them. */
interface PoolShape {
  blocks: number;
  blockSize: number;
}

/**
 * Attention over what a lane reads of the pool, its new tokens put among it at their own positions: a key's place does
 * not depend on the other lanes, and so neither does a bit of the result. Lanes of one token are computed as
 * `stepAttention` does it, from the pool or, where they are held, from running contexts.
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
  const areSteps = graph.input('are_steps', 'bool', [1]);
  const areHeld = graph.input('are_held', 'bool', [1]);
  const writeTokens = graph.input('write_tokens', 'int64', ['B', 'M']);
  const writeOthers = graph.input('write_others', 'float32', ['B', 1, 'M', 1]);
  const queryShape = graph.input('query_shape', 'int64', [4]);
  const part = (from: number) =>
    graph.node('Slice', [queryShape, graph.ints([from]), graph.ints([from + 1])]);
  const withPast = poolReader(graph, config, pool, part(0));
  const step = stepMath(graph, config);
  const width = graph.ints([-1, heads * headDim]);
  const oneRow = graph.ints([-1, keyValueHeads, 1, headDim]);
  const writes = (added: Value) =>
    graph.node('Transpose', [graph.node('Gather', [added, writeTokens], BY_ROW)], SWAPPED);

  const chunk = (layer: number, q: Value, [k, v]: readonly Value[]): Value => {
    const queries = graph.node('Transpose', [graph.node('Reshape', [q, queryShape])], SWAPPED);
    const [keys, values] = [k!, v!].map((x, side) => withPast(2 * layer + side, writes(x)));
    const mixed = graph.node('Attention', [queries, keys!, values!, step.mask], {
      scale: 1 / Math.sqrt(headDim),
    });
    return graph.node('Reshape', [graph.node('Transpose', [mixed], SWAPPED), width]);
  };
  /** Several of a row look at one another's keys and values, each but at its own, which is added behind them. */
  const steps = (layer: number, own: StepInputs, [k, v]: readonly Value[]): Value => {
    const others = graph.node('Mul', [writes(v!), writeOthers]);
    return step.attend(own, withPast(2 * layer, writes(k!)), withPast(2 * layer + 1, others));
  };
  return {
    attend(layer, q, k, v) {
      const added = [k, v].map((x) => graph.node('Reshape', [x, graph.ints([-1, keyValueHeads, headDim])]));
      fresh.push(...added);
      if (looking.includes(layer))
        graph.output(graph.node('Reshape', [q, graph.ints([-1, heads * headDim])]), queriesOf(layer));
      const context = step.context(layer);
      const mixed = graph.either(
        areSteps,
        () => {
          const [key, value] = [k, v].map((x) => graph.node('Reshape', [x, oneRow]));
          const own = { queries: step.byHead(q), key: key!, value: value! };
          return graph.either(
            areHeld,
            () => step.attend(own, ...context),
            () => steps(layer, own, added),
          );
        },
        () => chunk(layer, q, added),
      );
      return tape.constant(mixed);
    },
  };
}

/**
 * The same for lanes that are their rows' one new token each, in running contexts.
 *
 * Its queries, keys and values come as [N, heads, 1, headDim].
 */
export function stepAttention(tape: Tape, config: ModelConfig, fresh: Value[]): Attention {
  const step = stepMath(tape.graph, config);
  return {
    attend(layer, q, k, v) {
      fresh.push(k, v);
      const own = { queries: step.byHead(q), key: k, value: v };
      return tape.constant(step.attend(own, ...step.context(layer)));
    },
  };
}

/** One token of each lane: queries [B, kv heads, heads a kv head, headDim], its key and value [B, kv heads, 1, headDim]. */
interface StepInputs {
  queries: Value;
  key: Value;
  value: Value;
}

/**
 * Attention of one token a lane over the tokens before it, whose keys and values are only read. Its own stands where its
 * position is among the scores; its own value comes to the sum of the others', so that nothing has to be put among them.
 */
function stepMath(graph: OnnxGraph, config: ModelConfig) {
  const { heads, keyValueHeads, headDim } = config;
  const mask = graph.input('attention_mask', 'float32', ['B', 1, 'Q', 'S']);
  const places = graph.input('own_places', 'int64', ['B', keyValueHeads, heads / keyValueHeads, 1]);
  const last = { axis: { int: 3 } } as const;
  const queryShape = graph.ints([-1, keyValueHeads, heads / keyValueHeads, headDim]);
  return {
    mask,
    byHead: (queries: Value) => graph.node('Reshape', [queries, queryShape]),
    context: (layer: number): [keys: Value, values: Value] => [
      graph.input(contextOf(2 * layer), 'float32', ['C', keyValueHeads, 'D', headDim]),
      graph.input(contextOf(2 * layer + 1), 'float32', ['C', keyValueHeads, 'D', headDim]),
    ],
    /** @param values with zeros where the lane's own is to be */
    attend({ queries, key, value }: StepInputs, keys: Value, values: Value): Value {
      const scoresOf = (of: Value) =>
        graph.node('ms.FusedMatMul', [queries, of], {
          transB: { int: 1 },
          alpha: 1 / Math.sqrt(headDim),
        });
      const others = graph.node('Add', [scoresOf(keys), mask]);
      const scores = graph.node('ScatterElements', [others, places, scoresOf(key)], last);
      const shares = graph.node('Softmax', [scores], last);
      const own = graph.node('Mul', [graph.node('GatherElements', [shares, places], last), value]);
      const mixed = graph.node('Add', [graph.node('MatMul', [shares, values]), own]);
      return graph.node('Reshape', [mixed, graph.ints([-1, heads * headDim])]);
    },
  };
}

/**
 * What a side has of each lane, with new tokens [B, kv heads, M, headDim] put among it.
 * @param lanes how many there are [1]
 */
function poolReader(graph: OnnxGraph, config: ModelConfig, { blocks, blockSize }: PoolShape, lanes: Value) {
  const { keyValueHeads, headDim, layers } = config;
  const sides = 2 * layers;
  const pool = graph.input('pool', 'float32', [sides * keyValueHeads * blocks, blockSize * headDim]);
  const blockRows = graph.input('block_rows', 'int64', ['B', keyValueHeads, 'P']);
  const writePositions = graph.input('write_positions', 'int64', ['B']);
  const keyShape = joined(graph, lanes, graph.ints([keyValueHeads, -1, headDim]));
  // Of every side at once: one by one they would be as many small operations.
  const sideRows = graph.nodes(
    'Split',
    [graph.node('Add', [blockRows, graph.ints(range(sides, keyValueHeads * blocks), [sides, 1, 1, 1])])],
    sides,
    { axis: { int: 0 }, num_outputs: { int: sides } },
  );
  return (side: number, added: Value): Value => {
    const read = graph.node('Reshape', [graph.node('Gather', [pool, sideRows[side]!], BY_ROW), keyShape]);
    // The new ones are written in place, and not into a copy, only where the shape has names.
    const past = graph.shape(read, 'float32', ['B', keyValueHeads, 'S', headDim]);
    return graph.node('TensorScatter', [past, added, writePositions], { axis: { int: 2 } });
  };
}

/** 0, step, 2 step ... */
function range(count: number, step: number): number[] {
  return Array.from({ length: count }, (_, i) => i * step);
}

function joined(graph: OnnxGraph, ...parts: Value[]): Value {
  return graph.node('Concat', parts, { axis: { int: 0 } });
}
