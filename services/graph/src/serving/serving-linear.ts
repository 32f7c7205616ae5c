import type { ModelConfig } from '../models/config.ts';
import type { OnnxGraph, Value } from '../onnx/graph.ts';
import type { WeightSource } from '../onnx/weights.ts';
import { type GroupKind, type LinearGroup, sum } from './linear-groups.ts';
import { HEAD, type PackingOptions, packedName } from './packed-weights.ts';

/** The products of a serving graph, in one precision, adapters included. */
export interface ServingLinear {
  /** Outputs of a group's modules, each [N, M]. */
  group(layer: number, group: LinearGroup, x: Value): Value[];
  /** Logits [L, vocabSize] of hidden states [L, hiddenSize]. */
  head(x: Value): Value;
}

/** x W^T of a packed weight. */
type Product = (name: string, x: Value, outputs: number, inputs: number) => Value;

export function servingLinear(
  graph: OnnxGraph,
  config: ModelConfig,
  weights: WeightSource,
  options: PackingOptions,
  headName: string,
): ServingLinear {
  const product = products[options.precision](graph, weights, options);
  const adapt = bankedAdapters(graph);
  return {
    group(layer, { kind, inputs, outputs, bias }, x) {
      const all = sum(outputs);
      const name = packedName(layer, kind);
      let y = product(options.precision === 'float32' ? fileName(layer, kind) : name, x, all, inputs);
      if (bias) y = graph.node('Add', [y, weights.get(`${name}.bias`, [all])]);
      y = adapt(layer, kind, inputs, all, x, y);
      if (outputs.length === 1) return [y];
      return graph.nodes('Split', [y, graph.ints(outputs)], outputs.length, { axis: { int: -1 } });
    },
    head: (x) =>
      product(options.precision === 'float32' ? headName : HEAD, x, config.vocabSize, config.hiddenSize),
  };
}

/** A group of one module has in float32 the checkpoint's own weight. */
function fileName(layer: number, kind: GroupKind): string {
  if (kind === 'o') return `model.layers.${layer}.self_attn.o_proj`;
  return kind === 'down' ? `model.layers.${layer}.mlp.down_proj` : packedName(layer, kind);
}

const products: Record<
  PackingOptions['precision'],
  (graph: OnnxGraph, weights: WeightSource, options: PackingOptions) => Product
> = {
  float32: (graph, weights) => (name, x, outputs, inputs) =>
    graph.node('Gemm', [x, weights.get(`${name}.weight`, [outputs, inputs])], { transB: { int: 1 } }),

  /** Each row of x has a scale of its own, so that a row's result does not depend on its neighbours. */
  int8: (graph, weights) => {
    const middle = graph.bytes('int8_middle', 'uint8', [], Uint8Array.of(128));
    // As many as there are rows; the rounding asks for one each.
    const middles = graph.input('int8_middles', 'uint8', ['N']);
    const round = (x: Value, zeros: Value) => {
      const largest = graph.node('ReduceMax', [graph.node('Abs', [x]), graph.ints([-1])], {
        keepdims: { int: 0 },
      });
      const scale = graph.node('Max', [
        graph.node('Mul', [largest, graph.float(1 / 127)]),
        graph.float(1e-30),
      ]);
      const values = graph.node('QuantizeLinear', [x, scale, zeros], { axis: { int: 0 } });
      return { values, scale: graph.node('Unsqueeze', [scale, graph.ints([1])]) };
    };
    return (name, x, outputs, inputs) => {
      const zeros = name === HEAD ? graph.input('int8_head_middles', 'uint8', ['L']) : middles;
      const { values, scale } = round(x, zeros);
      const packed = weights.get(`${name}.int8`, [inputs, outputs], 'int8');
      const scales = weights.get(`${name}.scales`, [outputs]);
      const y = graph.node('ms.MatMulIntegerToFloat', [values, packed, graph.float(1), scales, middle]);
      return graph.node('Mul', [y, scale]);
    };
  },

  int4:
    (graph, weights, { int4Block }) =>
    (name, x, outputs, inputs) => {
      const blocks = Math.ceil(inputs / int4Block);
      const packed = weights.get(`${name}.int4`, [outputs, blocks, int4Block / 2], 'uint8');
      const scales = weights.get(`${name}.scales`, [outputs * blocks]);
      return graph.node('ms.MatMulNBits', [x, packed, scales], {
        K: { int: inputs },
        N: { int: outputs },
        bits: { int: 4 },
        block_size: { int: int4Block },
        accuracy_level: { int: 4 },
      });
    },
};

/** y + ((x A^T) * selected) B of the bank's rows in use; with none of them in use this computes nothing. */
function bankedAdapters(graph: OnnxGraph) {
  const inputs = new Map<GroupKind, { a: Value; b: Value; rows: Value; selected: Value }>();
  const inputsOf = (kind: GroupKind, width: number, outputs: number) => {
    let found = inputs.get(kind);
    if (!found) {
      found = {
        a: graph.input(`a:${kind}`, 'float32', [`${kind}_bank`, width]),
        b: graph.input(`b:${kind}`, 'float32', [`${kind}_bank`, outputs]),
        rows: graph.input(`rows:${kind}`, 'int64', [`${kind}_rows`]),
        selected: graph.input(`selected:${kind}`, 'float32', ['N', `${kind}_rows`]),
      };
      inputs.set(kind, found);
    }
    return found;
  };
  const axis = { axis: { int: 0 } } as const;
  return (layer: number, kind: GroupKind, width: number, outputs: number, x: Value, y: Value): Value => {
    const { a, b, rows, selected } = inputsOf(kind, width, outputs);
    const own = graph.node('Add', [rows, graph.int(layer)]);
    const ranks = graph.node('ms.FusedMatMul', [x, graph.node('Gather', [a, own], axis)], {
      transB: { int: 1 },
    });
    const kept = graph.node('Mul', [ranks, selected]);
    return graph.node('Add', [y, graph.node('MatMul', [kept, graph.node('Gather', [b, own], axis)])]);
  };
}
