import { linear } from '../autodiff/ops.ts';
import { Tape, type Tensor } from '../autodiff/tape.ts';
import type { ModelConfig } from '../models/config.ts';
import { rotaryFrequencies } from '../models/rope.ts';
import { type Attention, decoder, headWeightName } from '../models/transformer.ts';
import type { OnnxGraph, Value } from '../onnx/graph.ts';
import { MASKED } from '../training/packing.ts';

const ROWS = { axis: { int: 0 } } as const;

/**
 * Writes a decoder with its cache as inputs and outputs, the layout that optimum exports and transformers.js runs:
 * `input_ids`, `position_ids` [B, T], `attention_mask` [B, P + T], `past_key_values.N.key` and `.value` [B, kv heads, P,
 * head size] to `logits` [B, T, vocabSize] and `present.N.key` and `.value` [B, kv heads, P + T, head size].
 * @param weight gives the graph a weight by its name in the checkpoint
 * @param embedded takes `inputs_embeds` [B, T, hiddenSize] in the place of `input_ids`
 */
export function writeDecoderWithPast(
  graph: OnnxGraph,
  config: ModelConfig,
  weight: (name: string) => Value,
  embedded = false,
): void {
  const tape = new Tape(graph);
  const given = embedded
    ? graph.input('inputs_embeds', 'float32', ['batch_size', 'sequence_length', config.hiddenSize])
    : graph.input('input_ids', 'int64', ['batch_size', 'sequence_length']);
  const mask = graph.input('attention_mask', 'int64', ['batch_size', 'total_sequence_length']);
  const positions = graph.input('position_ids', 'int64', ['batch_size', 'sequence_length']);
  // [B, T], whose product is the number of rows that all but attention works on.
  const shape = graph.node('Shape', [given], { start: { int: 0 }, end: { int: 2 } });
  const rows = () => tape.constant(graph.node('Reshape', [given, graph.ints([-1, config.hiddenSize])]));
  const flat = (value: Value) => graph.node('Reshape', [value, graph.ints([-1])]);
  const constant = (name: string) => tape.constant(weight(name));
  const hidden = decoder(tape, config, embedded ? given : flat(given), {
    weight: constant,
    ...(embedded ? { embed: rows } : {}),
    rotation: rotation(graph, config, flat(positions)),
    attention: attentionWithPast(tape, config, shape, additiveMask(graph, config, shape, mask)),
  });
  const logits = linear(tape, hidden, constant(headWeightName(config)));
  graph.output(graph.node('Reshape', [logits, joined(graph, shape, graph.ints([-1]))]), 'logits', 'float32', [
    'batch_size',
    'sequence_length',
    config.vocabSize,
  ]);
}

/** Cosines and sines [1, N, headDim / 2] of each token's position, computed so that no context is too long. */
function rotation(graph: OnnxGraph, config: ModelConfig, positions: Value) {
  const { inverse, attention } = rotaryFrequencies(config);
  const frequencies = graph.weight('rope.frequencies', [1, inverse.length], Float32Array.from(inverse));
  const column = graph.node('Unsqueeze', [
    graph.node('Cast', [positions], { to: { int: 1 } }),
    graph.ints([1]),
  ]);
  const angles = graph.node('Unsqueeze', [graph.node('Mul', [column, frequencies]), graph.ints([0])]);
  const table = (of: 'Cos' | 'Sin') => {
    const values = graph.node(of, [angles]);
    return attention === 1 ? values : graph.node('Mul', [values, graph.float(attention)]);
  };
  const sin = table('Sin');
  // No gradient is taken: nothing turns back.
  return { cos: table('Cos'), sin, sinBack: sin };
}

/** [B, 1, 1, T, P + T]: 0 where a token may look, a large negative number at what is padding, later or too long ago. */
function additiveMask(graph: OnnxGraph, config: ModelConfig, shape: Value, mask: Value): Value {
  const scalar = (of: Value, index: number) =>
    graph.node('Gather', [of, graph.int(index)], { axis: { int: 0 } });
  const total = scalar(graph.node('Shape', [mask]), 1);
  const past = graph.node('Sub', [total, scalar(shape, 1)]);
  const range = (from: Value) => graph.node('Range', [from, total, graph.int(1)]);
  const keys = graph.node('Unsqueeze', [range(graph.int(0)), graph.ints([0])]);
  const queries = graph.node('Unsqueeze', [range(past), graph.ints([1])]);
  let seen = graph.node('LessOrEqual', [keys, queries]);
  if (config.slidingWindow !== undefined) {
    const distance = graph.node('Sub', [queries, keys]);
    const near = graph.node('Less', [distance, graph.int(config.slidingWindow)]);
    seen = graph.node('And', [seen, near]);
  }
  const real = graph.node('Unsqueeze', [
    graph.node('Cast', [mask], { to: { int: 9 } }),
    graph.ints([1, 2, 3]),
  ]);
  return graph.node('Where', [graph.node('And', [seen, real]), graph.float(0), graph.float(MASKED)]);
}

/** Attention over the past that is fed, then the new tokens; both together are the outputs `present`. */
function attentionWithPast(tape: Tape, config: ModelConfig, shape: Value, mask: Value): Attention {
  const { graph } = tape;
  const { heads, keyValueHeads, headDim } = config;
  const group = heads / keyValueHeads;
  const [batch, length] = [0, 1].map((i) => graph.node('Gather', [shape, graph.ints([i])], ROWS));
  const byHead = joined(graph, shape, graph.ints([keyValueHeads, headDim]));
  const grouped = joined(graph, shape, graph.ints([keyValueHeads, group, headDim]));
  const perHead = graph.ints([keyValueHeads, group]);
  const scoreShape = joined(graph, batch!, perHead, length!, graph.ints([-1]));
  const outShape = joined(graph, batch!, perHead, length!, graph.ints([headDim]));
  const reshape = (value: Value, to: Value) => graph.node('Reshape', [value, to]);
  const transpose = (value: Value, perm: number[]) =>
    graph.node('Transpose', [value], { perm: { ints: perm } });
  const present = (layer: number, kind: 'key' | 'value', fresh: Tensor): Value => {
    const past = graph.input(`past_key_values.${layer}.${kind}`, 'float32', [
      'batch_size',
      keyValueHeads,
      'past_sequence_length',
      headDim,
    ]);
    const own = transpose(reshape(fresh, byHead), [0, 2, 1, 3]);
    const all = graph.node('Concat', [past, own], { axis: { int: 2 } });
    graph.output(all, `present.${layer}.${kind}`, 'float32', [
      'batch_size',
      keyValueHeads,
      'total_sequence_length',
      headDim,
    ]);
    return all;
  };
  return {
    attend(layer, q, k, v) {
      const keys = present(layer, 'key', k);
      const values = present(layer, 'value', v);
      // Queries that share a key/value head stand under one another: [B, kv, group * T, headDim].
      const byGroup = transpose(reshape(q, grouped), [0, 2, 3, 1, 4]);
      const queries = reshape(byGroup, graph.ints([0, 0, -1, headDim]));
      const scores = graph.node('ms.FusedMatMul', [queries, keys], {
        transB: { int: 1 },
        alpha: 1 / Math.sqrt(headDim),
      });
      const masked = graph.node('Add', [reshape(scores, scoreShape), mask]);
      const probabilities = graph.node('Softmax', [masked], { axis: { int: -1 } });
      const mixed = graph.node('MatMul', [reshape(probabilities, graph.node('Shape', [scores])), values]);
      const byPosition = transpose(reshape(mixed, outShape), [0, 3, 1, 2, 4]);
      return tape.constant(reshape(byPosition, graph.ints([-1, heads * headDim])));
    },
  };
}

function joined(graph: OnnxGraph, ...parts: Value[]): Value {
  return graph.node('Concat', parts, ROWS);
}
