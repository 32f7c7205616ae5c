import { expandFirst, linear, reshape, sliceOne, tanh, transpose } from '../autodiff/ops.ts';
import type { Tape, Tensor } from '../autodiff/tape.ts';
import type { NamedTensor } from '../checkpoint/safetensors.ts';
import type { ModelConfig } from '../models/config.ts';
import type { Value } from '../onnx/graph.ts';

/**
 * P-Tuning v2 (Liu et al. 2022; prefix tuning, Li and Liang 2021) in the terms of peft's PrefixTuningConfig: trained
 * keys and values stand before those of the real tokens in every layer.
 */
export interface PrefixConfig {
  numVirtualTokens: number;
  /** The prefix comes of an embedding through two linear layers with tanh between. */
  prefixProjection: boolean;
  /** Width between those layers. */
  encoderHiddenSize: number;
}

const EMBEDDING = 'prompt_encoder.default.embedding.weight';
const FIRST = 'prompt_encoder.default.transform.0';
const SECOND = 'prompt_encoder.default.transform.2';

/** Width of one layer's keys, peft's token_dim. */
export function keyWidth({ keyValueHeads, headDim }: ModelConfig): number {
  return keyValueHeads * headDim;
}

/** Shapes of what trains, under the names of peft's own model. */
export function prefixShapes(config: ModelConfig, prefix: PrefixConfig): Map<string, number[]> {
  const width = keyWidth(config);
  const { numVirtualTokens, encoderHiddenSize } = prefix;
  const all = config.layers * 2 * width;
  if (!prefix.prefixProjection) return new Map([[EMBEDDING, [numVirtualTokens, all]]]);
  return new Map([
    [EMBEDDING, [numVirtualTokens, width]],
    [`${FIRST}.weight`, [encoderHiddenSize, width]],
    [`${FIRST}.bias`, [encoderHiddenSize]],
    [`${SECOND}.weight`, [all, encoderHiddenSize]],
    [`${SECOND}.bias`, [all]],
  ]);
}

/**
 * As PyTorch begins: embeddings normal, linear layers uniform within 1 / sqrt(inputs).
 * @param random uniform in [0, 1)
 */
export function initialPrefix(
  config: ModelConfig,
  prefix: PrefixConfig,
  random: () => number,
): Map<string, NamedTensor> {
  const tensors = new Map<string, NamedTensor>();
  const { encoderHiddenSize } = prefix;
  for (const [name, shape] of prefixShapes(config, prefix)) {
    const data = new Float32Array(shape.reduce((product, n) => product * n, 1));
    if (name === EMBEDDING) {
      // Box and Muller 1958.
      for (let i = 0; i < data.length; i++)
        data[i] = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
    } else {
      const bound = 1 / Math.sqrt(name.startsWith(FIRST) ? keyWidth(config) : encoderHiddenSize);
      for (let i = 0; i < data.length; i++) data[i] = (2 * random() - 1) * bound;
    }
    tensors.set(name, { shape, data });
  }
  return tensors;
}

/** Keys and values of a layer's prefix, each [B, keyValueHeads, numVirtualTokens, headDim]. */
export interface LayerPrefix {
  keys: Tensor;
  values: Tensor;
}

/**
 * The prompt encoder: gives each layer its prefix.
 * @param batch number of sequences, as int64 [1]
 */
export function prefixEncoder(
  tape: Tape,
  config: ModelConfig,
  prefix: PrefixConfig,
  parameter: (name: string) => Tensor,
  batch: Value,
): (layer: number) => LayerPrefix {
  const { graph } = tape;
  const { keyValueHeads, headDim, layers } = config;
  let tokens = parameter(EMBEDDING);
  if (prefix.prefixProjection) {
    const layer = (x: Tensor, at: string) =>
      linear(tape, x, parameter(`${at}.weight`), parameter(`${at}.bias`));
    tokens = layer(tanh(tape, layer(tokens, FIRST)), SECOND);
  }
  const split = graph.ints([0, layers * 2, keyValueHeads, headDim]);
  const byLayer = transpose(tape, reshape(tape, tokens, split), [1, 2, 0, 3]);
  const shape = graph.node('Concat', [batch, graph.ints([keyValueHeads, prefix.numVirtualTokens, headDim])], {
    axis: { int: 0 },
  });
  const part = (index: number) => expandFirst(tape, sliceOne(tape, byLayer, index, layers * 2), shape);
  return (layer) => ({ keys: part(2 * layer), values: part(2 * layer + 1) });
}

/** The trainable tensors of a prefix without projection that has these embeddings, as an adapter keeps them. */
export function prefixFromEmbeddings(
  config: ModelConfig,
  numVirtualTokens: number,
  embeddings: Float32Array,
): Map<string, NamedTensor> {
  const shape = [numVirtualTokens, config.layers * 2 * keyWidth(config)];
  return new Map([[EMBEDDING, { shape, data: embeddings }]]);
}

/** The encoder's output [numVirtualTokens, layers * 2 * keyWidth], which is what peft saves and serving needs. */
export function promptEmbeddings(
  config: ModelConfig,
  prefix: PrefixConfig,
  tensors: ReadonlyMap<string, NamedTensor>,
): NamedTensor {
  const embedding = tensors.get(EMBEDDING)!;
  if (!prefix.prefixProjection) return embedding;
  const apply = (x: Float32Array, at: string): Float32Array => {
    const { data: weight, shape } = tensors.get(`${at}.weight`)!;
    const bias = tensors.get(`${at}.bias`)!.data;
    const [outputs, inputs] = shape as [number, number];
    const rows = x.length / inputs;
    const y = new Float32Array(rows * outputs);
    for (let row = 0; row < rows; row++) {
      for (let o = 0; o < outputs; o++) {
        let sum = bias[o]!;
        for (let i = 0; i < inputs; i++) sum += x[row * inputs + i]! * weight[o * inputs + i]!;
        y[row * outputs + o] = sum;
      }
    }
    return y;
  };
  const hidden = apply(embedding.data, FIRST).map(Math.tanh);
  const data = apply(hidden, SECOND);
  return { shape: [prefix.numVirtualTokens, config.layers * 2 * keyWidth(config)], data };
}
