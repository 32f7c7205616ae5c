import { add, embedding, linear, type Rotation, reshape, rmsNorm, rotate, swiglu } from '../autodiff/ops.ts';
import type { Tape, Tensor } from '../autodiff/tape.ts';
import type { Value } from '../onnx/graph.ts';
import type { ModelConfig } from './config.ts';

/** How tokens look at one another: over packed rows in training, over a cache in serving. */
export interface Attention {
  /**
   * @param q [N, heads * headDim], rotated, as are
   * @param k [N, keyValueHeads * headDim]; both with one more dimension of 1 where that is how they were computed
   * @param v [N, keyValueHeads * headDim]
   * @returns [N, heads * headDim]
   */
  attend(layer: number, q: Tensor, k: Tensor, v: Tensor): Tensor;
}

/** Where a decoder takes its parts from. */
export interface DecoderParts {
  /** A weight by its name in the checkpoint. */
  weight(name: string): Tensor;
  /** What an adapter adds to a linear module's output, if it has one: x [N, K] to [N, M]. */
  adapt?(module: string, x: Tensor, y: Tensor): Tensor;
  /** x W^T + b where it is not computed as `linear` does. */
  linear?(module: string, x: Tensor, bias: Tensor | undefined): Tensor | undefined;
  /** Embeddings [N, hiddenSize] of the tokens, where they are not all looked up. */
  embed?(ids: Value): Tensor;
  /** Queries, keys and values of a layer's normalised input, rotated; where they are not computed one by one. */
  attentionInputs?(layer: number, x: Tensor): { q: Tensor; k: Tensor; v: Tensor };
  /** Linear modules of one input x at once, adapters included: [N, M] of each; where they are not computed one by one. */
  together?(modules: readonly string[], x: Tensor): Tensor[];
  /** Computes a layer [N, hiddenSize] to [N, hiddenSize] again in the backward pass, to keep less. */
  checkpoint?(x: Tensor, layer: (x: Tensor) => Tensor): Tensor;
  attention: Attention;
  rotation: Rotation;
}

/**
 * Decoder of LLaMA, Mistral, Qwen2 and Qwen3 up to and including the final norm: the four share one structure and
 * differ by biases, head norms and windows, which their configuration tells.
 * @param ids [N], tokens of all sequences one after the other
 * @returns [N, hiddenSize]
 */
export function decoder(tape: Tape, config: ModelConfig, ids: Value, parts: DecoderParts): Tensor {
  const { weight, attention, rotation } = parts;
  const { graph } = tape;

  const project = (module: string, x: Tensor, bias: boolean): Tensor => {
    const b = bias ? weight(`${module}.bias`) : undefined;
    const y = parts.linear?.(module, x, b) ?? linear(tape, x, weight(`${module}.weight`), b);
    return parts.adapt ? parts.adapt(module, x, y) : y;
  };
  const projectAll = (modules: readonly string[], x: Tensor, bias: boolean): Tensor[] =>
    parts.together?.(modules, x) ?? modules.map((module) => project(module, x, bias));
  const headNorm = (x: Tensor, name: string): Tensor => {
    const heads = reshape(tape, x, graph.ints([0, -1, config.headDim]));
    const normal = rmsNorm(tape, heads, weight(name), config.rmsNormEps);
    return reshape(tape, normal, graph.ints([0, -1]));
  };

  const attentionInputs = (at: string, x: Tensor) => {
    const modules = ['q', 'k', 'v'].map((name) => `${at}.self_attn.${name}_proj`);
    let [q, k, v] = projectAll(modules, x, config.attentionBias) as [Tensor, Tensor, Tensor];
    if (config.queryKeyNorm) {
      q = headNorm(q, `${at}.self_attn.q_norm.weight`);
      k = headNorm(k, `${at}.self_attn.k_norm.weight`);
    }
    return {
      q: rotate(tape, q, rotation, config.heads),
      k: rotate(tape, k, rotation, config.keyValueHeads),
      v,
    };
  };

  const layerOf = (layer: number, input: Tensor): Tensor => {
    const at = `model.layers.${layer}`;
    const x = rmsNorm(tape, input, weight(`${at}.input_layernorm.weight`), config.rmsNormEps);
    const { q, k, v } = parts.attentionInputs?.(layer, x) ?? attentionInputs(at, x);
    const mixed = attention.attend(layer, q, k, v);
    const [attended] = projectAll([`${at}.self_attn.o_proj`], mixed, config.outputBias);
    const hidden = add(tape, input, attended!);

    const z = rmsNorm(tape, hidden, weight(`${at}.post_attention_layernorm.weight`), config.rmsNormEps);
    const [gate, up] = projectAll([`${at}.mlp.gate_proj`, `${at}.mlp.up_proj`], z, config.mlpBias);
    const [down] = projectAll([`${at}.mlp.down_proj`], swiglu(tape, gate!, up!), config.mlpBias);
    return add(tape, hidden, down!);
  };

  let hidden = parts.embed?.(ids) ?? embedding(tape, weight('model.embed_tokens.weight'), ids);
  for (let layer = 0; layer < config.layers; layer++) {
    const run = (x: Tensor) => layerOf(layer, x);
    hidden = parts.checkpoint ? parts.checkpoint(hidden, run) : run(hidden);
  }
  return rmsNorm(tape, hidden, weight('model.norm.weight'), config.rmsNormEps);
}

/** Name of the weight that turns hidden states into logits. */
export function headWeightName(config: ModelConfig): string {
  return config.tieWordEmbeddings ? 'model.embed_tokens.weight' : 'lm_head.weight';
}

/** Every linear module of the decoder with its [outputs, inputs], in order; the head is not one of them. */
export function linearModules(config: ModelConfig): Map<string, [number, number]> {
  const { hiddenSize, intermediateSize, headDim } = config;
  const queries = config.heads * headDim;
  const keys = config.keyValueHeads * headDim;
  const modules = new Map<string, [number, number]>();
  for (let layer = 0; layer < config.layers; layer++) {
    const at = `model.layers.${layer}`;
    modules.set(`${at}.self_attn.q_proj`, [queries, hiddenSize]);
    modules.set(`${at}.self_attn.k_proj`, [keys, hiddenSize]);
    modules.set(`${at}.self_attn.v_proj`, [keys, hiddenSize]);
    modules.set(`${at}.self_attn.o_proj`, [hiddenSize, queries]);
    modules.set(`${at}.mlp.gate_proj`, [intermediateSize, hiddenSize]);
    modules.set(`${at}.mlp.up_proj`, [intermediateSize, hiddenSize]);
    modules.set(`${at}.mlp.down_proj`, [hiddenSize, intermediateSize]);
  }
  return modules;
}

/** Every weight that a checkpoint of this shape has, with its shape. */
export function weightShapes(config: ModelConfig): Map<string, number[]> {
  const { hiddenSize, vocabSize, headDim } = config;
  const shapes = new Map<string, number[]>([['model.embed_tokens.weight', [vocabSize, hiddenSize]]]);
  for (const [module, [outputs, inputs]] of linearModules(config)) {
    shapes.set(`${module}.weight`, [outputs, inputs]);
    const bias = /mlp/.test(module)
      ? config.mlpBias
      : /o_proj$/.test(module)
        ? config.outputBias
        : config.attentionBias;
    if (bias) shapes.set(`${module}.bias`, [outputs]);
  }
  for (let layer = 0; layer < config.layers; layer++) {
    const at = `model.layers.${layer}`;
    shapes.set(`${at}.input_layernorm.weight`, [hiddenSize]);
    shapes.set(`${at}.post_attention_layernorm.weight`, [hiddenSize]);
    if (config.queryKeyNorm) {
      shapes.set(`${at}.self_attn.q_norm.weight`, [headDim]);
      shapes.set(`${at}.self_attn.k_norm.weight`, [headDim]);
    }
  }
  shapes.set('model.norm.weight', [hiddenSize]);
  if (!config.tieWordEmbeddings) shapes.set('lm_head.weight', [vocabSize, hiddenSize]);
  return shapes;
}
