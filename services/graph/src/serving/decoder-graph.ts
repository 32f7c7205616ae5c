import { Tape } from '../autodiff/tape.ts';
import type { StoredTensor } from '../checkpoint/checkpoint.ts';
import type { ModelConfig } from '../models/config.ts';
import { type Attention, decoder, headWeightName, weightShapes } from '../models/transformer.ts';
import type { OnnxGraph, Value } from '../onnx/graph.ts';
import { WeightSource } from '../onnx/weights.ts';
import { linearGroups } from './linear-groups.ts';
import type { PackingOptions } from './packed-weights.ts';
import { servingLinear } from './serving-linear.ts';

export interface DecoderGraph {
  model: Uint8Array;
  /** File by the location that the model calls it. */
  files: ReadonlyMap<string, string>;
}

/**
 * The graph of a decoding step: lanes of as many new tokens each, over a pool of keys and values.
 *
 * | input | shape | |
 * |---|---|---|
 * | input_ids | [N] | N = B * T, lane by lane |
 * | cos, sin | [1, N, headDim / 2] | of each token's position |
 * | pool | [2 * layers * kv heads * blocks, blockSize * headDim] | KeyValuePool |
 * | block_rows | [B, kv heads, P] | rows of the pool's first side that a lane reads |
 * | write_rows | [W, 1] | place of a new key among all that are read, [B * kv heads * P * blockSize] |
 * | write_source | [W] | which new key that is, of [N * kv heads] |
 * | attention_mask | [B, 1, T, P * blockSize] | added to the scores |
 * | logit_rows | [L] | tokens whose logits are asked for |
 * | row_shape | [2] | B, T |
 *
 * and those of AdapterBank. Outputs: logits [L, vocabSize], the likeliest of each row as top_tokens [L] and top_logits
 * [L], new_key_values [2 * layers, N, kv heads * headDim].
 */
export function decoderGraph(
  config: ModelConfig,
  packed: ReadonlyMap<string, StoredTensor>,
  pool: { blocks: number; blockSize: number },
  options: PackingOptions,
): DecoderGraph {
  const tape = new Tape();
  const { graph } = tape;
  const weights = new WeightSource(graph, { folder: '', config, tensors: packed });
  const half = config.headDim / 2;
  const shapes = weightShapes(config);
  const ids = graph.input('input_ids', 'int64', ['N']);
  const rotation = {
    cos: graph.input('cos', 'float32', [1, 'N', half]),
    sin: graph.input('sin', 'float32', [1, 'N', half]),
    // No gradient is taken here: nothing turns back.
    sinBack: ids,
  };
  const logitRows = graph.input('logit_rows', 'int64', ['L']);
  const fresh: Value[] = [];
  const linear = servingLinear(
    graph,
    config,
    weights,
    options,
    headWeightName(config).replace('.weight', ''),
  );
  const groups = linearGroups(config);
  const hidden = decoder(tape, config, ids, {
    weight: (name) => tape.constant(weights.get(name, shapes.get(name)!)),
    rotation,
    together(modules, x) {
      const [, layer, first] = /^model\.layers\.(\d+)\.(.*)$/.exec(modules[0]!)!;
      const group = groups.find(({ modules: [name] }) => name === first)!;
      return linear.group(Number(layer), group, x).map((y) => tape.constant(y));
    },
    attention: pooledAttention(tape, config, pool, fresh),
  });
  const asked = graph.node('Gather', [hidden, logitRows], { axis: { int: 0 } });
  const logits = linear.head(asked);
  graph.output(logits, 'logits');
  const last = { axis: { int: -1 }, keepdims: { int: 0 } } as const;
  graph.output(graph.node('ArgMax', [logits], last), 'top_tokens', 'int64');
  graph.output(graph.node('ReduceMax', [logits, graph.ints([-1])], { keepdims: { int: 0 } }), 'top_logits');
  const stacked = fresh.map((value) => graph.node('Unsqueeze', [value, graph.ints([0])]));
  graph.output(graph.node('Concat', stacked, { axis: { int: 0 } }), 'new_key_values');
  return { model: graph.serialize(), files: weights.files };
}

/**
 * Attention over what a lane reads of the pool, its new tokens put among it at their own positions: a key's place does
 * not depend on the other lanes, and so neither does a bit of the result.
 */
function pooledAttention(
  tape: Tape,
  config: ModelConfig,
  { blocks, blockSize }: { blocks: number; blockSize: number },
  fresh: Value[],
): Attention {
  const { graph } = tape;
  const { heads, keyValueHeads, headDim, layers } = config;
  const sides = 2 * layers;
  const pool = graph.input('pool', 'float32', [sides * keyValueHeads * blocks, blockSize * headDim]);
  const blockRows = graph.input('block_rows', 'int64', ['B', keyValueHeads, 'P']);
  const writeRows = graph.input('write_rows', 'int64', ['W', 1]);
  const writeSource = graph.input('write_source', 'int64', ['W']);
  const mask = graph.input('attention_mask', 'float32', ['B', 1, 'T', 'S']);
  const rowShape = graph.input('row_shape', 'int64', [2]);
  const lanes = graph.node('Slice', [rowShape, graph.ints([0]), graph.ints([1])]);
  const queryShape = joined(graph, rowShape, graph.ints([heads, headDim]));
  const keyShape = joined(graph, lanes, graph.ints([keyValueHeads, -1, headDim]));
  const byHead = { perm: { ints: [0, 2, 1, 3] } } as const;
  const rows = { axis: { int: 0 } } as const;
  const withPast = (side: number, added: Value) => {
    const own = graph.node('Add', [blockRows, graph.int(side * keyValueHeads * blocks)]);
    const past = graph.node('Reshape', [graph.node('Gather', [pool, own], rows), graph.ints([-1, headDim])]);
    const each = graph.node('Reshape', [added, graph.ints([-1, headDim])]);
    const written = graph.node('Gather', [each, writeSource], rows);
    return graph.node('Reshape', [graph.node('ScatterND', [past, writeRows, written]), keyShape]);
  };
  return {
    attend(layer, q, k, v) {
      fresh.push(k, v);
      const queries = graph.node('Transpose', [graph.node('Reshape', [q, queryShape])], byHead);
      const mixed = graph.node(
        'Attention',
        [queries, withPast(2 * layer, k), withPast(2 * layer + 1, v), mask],
        { scale: 1 / Math.sqrt(headDim) },
      );
      const byPosition = graph.node('Transpose', [mixed], byHead);
      return tape.constant(graph.node('Reshape', [byPosition, graph.ints([-1, heads * headDim])]));
    },
  };
}

function joined(graph: OnnxGraph, ...parts: Value[]): Value {
  return graph.node('Concat', parts, { axis: { int: 0 } });
}
