import type { ModelConfig } from '../models/config.ts';
import type { OnnxGraph, Value } from '../onnx/graph.ts';
import type { WeightSource } from '../onnx/weights.ts';
import { type GroupKind, type LinearGroup, sum } from './linear-groups.ts';
import { HEAD, type PackingOptions, packedName } from './packed-weights.ts';

/** The products of a serving graph, in one precision, adapters included. */
export interface ServingLinear {
  /** Outputs of a group's modules behind one another, [N, sum of M]. */
  joined(layer: number, group: LinearGroup, x: Value): Value;
  /** The same, each [N, M]. */
  group(layer: number, group: LinearGroup, x: Value): Value[];
  /** Logits [L, vocabSize] of hidden states [L, hiddenSize]. */
  head(x: Value): Value;
}

/** x W^T of a packed weight. */
type Product = (name: string, x: Value, outputs: number, inputs: number) => Value;

/** @param adapted groups to which adapters of a bank are added */
export function servingLinear(
  graph: OnnxGraph,
  config: ModelConfig,
  weights: WeightSource,
  options: PackingOptions,
  headName: string,
  adapted: readonly GroupKind[],
): ServingLinear {
  const product = products[options.precision](graph, weights, options);
  const adapt = bankedAdapters(graph, adapted);
  const joined: ServingLinear['joined'] = (layer, group, x) => {
    const { kind, inputs, outputs, bias } = group;
    const all = sum(outputs);
    const name = packedName(layer, kind);
    let y = product(options.precision === 'float32' ? fileName(layer, kind) : name, x, all, inputs);
    if (bias) y = graph.node('Add', [y, weights.get(`${name}.bias`, [all])]);
    return adapted.includes(kind) ? adapt(layer, group, x, y) : y;
  };
  return {
    joined,
    group(layer, group, x) {
      const { outputs } = group;
      const y = joined(layer, group, x);
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
    const middles = graph.input('int8_middles', 'uint8', ['N', 1]);
    const headMiddles = graph.input('int8_head_middles', 'uint8', ['L', 1]);
    return (name, x, outputs, inputs) => {
      const largest = graph.node('ReduceMax', [graph.node('Abs', [x]), graph.ints([-1])]);
      // A row of zeros has the scale 0: whatever its quotients are rounded to, 0 times that is 0 again.
      const scale = graph.node('Mul', [largest, graph.float(1 / 127)]);
      const rounded = graph.node('QuantizeLinear', [x, scale, name === HEAD ? headMiddles : middles], {
        axis: { int: 1 },
        block_size: { int: inputs },
      });
      const packed = weights.get(`${name}.int8`, [inputs, outputs], 'int8');
      const scales = weights.get(`${name}.scales`, [outputs]);
      const y = graph.node('ms.MatMulIntegerToFloat', [rounded, packed, graph.float(1), scales, middle]);
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

/** y + ((x A^T) * selected) B of the rows that lie ready, for each module of a group with its own; see AdapterBank. */
function bankedAdapters(graph: OnnxGraph, adapted: readonly GroupKind[]) {
  const shared = new Map<GroupKind, { selected: Value; rows: Value | undefined; used: Value | undefined }>();
  const sharedOf = (kind: GroupKind, modules: number) => {
    const inputs = shared.get(kind) ?? {
      selected: graph.input(`selected:${kind}`, 'float32', ['N', `${kind}_rows`]),
      rows: modules > 1 ? graph.input(`rows:${kind}`, 'int64', [modules]) : undefined,
      used: adapted.length > 1 ? graph.input(`used:${kind}`, 'bool', [1]) : undefined,
    };
    shared.set(kind, inputs);
    return inputs;
  };
  return (layer: number, { kind, inputs, outputs }: LinearGroup, x: Value, y: Value): Value => {
    const { selected, rows, used } = sharedOf(kind, outputs.length);
    const a = graph.input(`a:${kind}:${layer}`, 'float32', [`${kind}_rows`, inputs]);
    const b = outputs.map((width, m) =>
      graph.input(`b:${kind}:${layer}:${m}`, 'float32', [`${kind}_${m}_rows`, width]),
    );
    const added = () => {
      const ranks = graph.node('ms.FusedMatMul', [x, a], { transB: { int: 1 } });
      const kept = graph.node('Mul', [ranks, selected]);
      if (!rows) return graph.node('MatMul', [kept, b[0]!]);
      const parts = graph.nodes('Split', [kept, rows], b.length, { axis: { int: -1 } });
      const products = parts.map((part, m) => graph.node('MatMul', [part, b[m]!]));
      return graph.node('Concat', products, { axis: { int: -1 } });
    };
    // A product over nothing is filled with zeros, of which a long prompt has many.
    const nothing = () => graph.node('Identity', [graph.float(0)]);
    return graph.node('Add', [y, used ? graph.either(used, added, nothing) : added()]);
  };
}
