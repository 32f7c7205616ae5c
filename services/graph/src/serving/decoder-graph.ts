import { rmsNorm } from '../autodiff/ops.ts';
import { Tape, type Tensor } from '../autodiff/tape.ts';
import type { StoredTensor } from '../checkpoint/checkpoint.ts';
import type { ModelConfig } from '../models/config.ts';
import { decoder, headWeightName, weightShapes } from '../models/transformer.ts';
import type { Value } from '../onnx/graph.ts';
import { WeightSource } from '../onnx/weights.ts';
import { lookingLayers } from './image-attention.ts';
import { type GroupKind, linearGroups } from './linear-groups.ts';
import type { PackingOptions, ServingPrecision } from './packed-weights.ts';
import { pooledAttention, stepAttention } from './pooled-attention.ts';
import { servingLinear } from './serving-linear.ts';

/** What batches a graph is for: the less it takes, the fewer operations it has. */
export interface GraphKind {
  /**
   * `steps`: every lane is a row's one new token, of a context that is held, which needs a fifth fewer operations;
   * `chunks`: lanes of several.
   */
  takes: 'any' | 'chunks' | 'steps';
  /** How its weights are kept. */
  precision: ServingPrecision;
  /** Groups of linear modules that adapters may change. */
  adapted: readonly GroupKind[];
}

export interface DecoderGraph {
  model: Uint8Array;
  /** File by the location that the model calls it. */
  files: ReadonlyMap<string, string>;
}

/**
 * The graph of a decoding step: lanes of as many new tokens each, over keys and values in a pool or, for one token a lane,
 * in running contexts.
 *
 * | input | shape | |
 * |---|---|---|
 * | input_ids | [N] | N = B * T, lane by lane |
 * | logit_rows | [L] | tokens whose logits are asked for |
 * | cos, sin | [1, N, headDim / 2] ([N, 1, ...] for steps) | of each token's position |
 * | attention_mask | [B, 1, T, S] | added to the scores, of which a lane has S |
 * | own_places | [B, kv heads, heads / kv heads, 1] | where the own one is among them, for lanes of one token |
 * | context:SIDE | [B, kv heads, S, headDim] | RunningContexts, of each side |
 *
 * and, but for steps, which are always held:
 *
 * | input | shape | |
 * |---|---|---|
 * | are_steps, are_held | [1] | whether lanes have one token; whether contexts are given for them |
 * | pool | [2 * layers * kv heads * blocks, blockSize * headDim] | KeyValuePool |
 * | block_rows | [B, kv heads, P] | rows of the pool's first side that a lane reads, S = P * blockSize |
 * | write_tokens | [B, M] | new tokens of which a lane's keys are put among those that it reads |
 * | write_others | [B, 1, M, 1] | 0 for the own one of a lane of one token, else 1 |
 * | write_positions | [B] | place of the first of them there; the others follow |
 * | query_shape | [4] | B, T, heads, headDim |
 * | image_rows | [I, 1] | tokens in whose place something else stands, where the graph takes images |
 * | image_tokens | [I, hiddenSize] | what that is |
 *
 * and, where it is adapted, those of AdapterBank. What a run does not read may have any content.
 *
 * Outputs: logits [L, vocabSize], the likeliest of each row as top_tokens [L] and top_logits [L], new_key_values
 * [2 * layers * N, kv heads, headDim]; where the graph takes images, of the layers that `lookingLayers` names the rotated
 * queries as `queries:LAYER` [N, heads * headDim].
 */
export function decoderGraph(
  config: ModelConfig,
  packed: ReadonlyMap<string, StoredTensor>,
  options: PackingOptions & { blocks: number; blockSize: number },
  { takes, adapted, images }: GraphKind & { images: boolean },
): DecoderGraph {
  const steps = takes === 'steps';
  const tape = new Tape();
  const { graph } = tape;
  const weights = new WeightSource(graph, { tensors: packed });
  const half = config.headDim / 2;
  const shapes = weightShapes(config);
  const ids = graph.input('input_ids', 'int64', ['N']);
  const positions = steps ? ['N', 1, half] : [1, 'N', half];
  const rotation = {
    cos: graph.input('cos', 'float32', positions),
    sin: graph.input('sin', 'float32', positions),
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
    adapted,
  );
  const groups = linearGroups(config);
  const qkv = groups.find(({ kind }) => kind === 'qkv')!;
  const weight = (name: string) => tape.constant(weights.get(name, shapes.get(name)!));
  const given = {
    tape,
    config,
    rotation,
    weight,
    joined: (layer: number, x: Value) => linear.joined(layer, qkv, x),
  };
  const inputs = steps ? stepInputs(given) : config.queryKeyNorm ? undefined : rotatedInputs(given);
  const hidden = decoder(tape, config, ids, {
    weight,
    rotation,
    ...(images && !steps ? { embed: (tokens: Value) => withImages(tape, config, weights, tokens) } : {}),
    ...(inputs ? { attentionInputs: inputs } : {}),
    together(modules, x) {
      const [, layer, first] = /^model\.layers\.(\d+)\.(.*)$/.exec(modules[0]!)!;
      const group = groups.find(({ modules: [name] }) => name === first)!;
      return linear.group(Number(layer), group, x).map((y) => tape.constant(y));
    },
    attention: steps
      ? stepAttention(tape, config, fresh)
      : pooledAttention(tape, config, options, fresh, images ? lookingLayers(config) : []),
  });
  const asked = graph.node('Gather', [hidden, logitRows], { axis: { int: 0 } });
  const logits = linear.head(asked);
  graph.output(logits, 'logits');
  const last = { axis: { int: -1 }, keepdims: { int: 0 } } as const;
  graph.output(graph.node('ArgMax', [logits], last), 'top_tokens', 'int64');
  graph.output(graph.node('ReduceMax', [logits, graph.ints([-1])], { keepdims: { int: 0 } }), 'top_logits');
  graph.output(graph.node('Concat', fresh, { axis: { int: 0 } }), 'new_key_values');
  return { model: graph.serialize(), files: weights.files };
}

interface InputParts {
  tape: Tape;
  config: ModelConfig;
  rotation: { cos: Value; sin: Value };
  weight(name: string): Tensor;
  /** Queries, keys and values of a layer's input [N, hiddenSize], behind one another. */
  joined(layer: number, x: Value): Value;
}

/** Queries and keys are rotated as the heads of one tensor. */
function rotatedInputs({ tape, config, rotation, joined }: InputParts) {
  const { graph } = tape;
  const { heads, keyValueHeads, headDim } = config;
  const [queries, keys] = [heads * headDim, keyValueHeads * headDim];
  const parts = (x: Value, sizes: number[]) =>
    graph.nodes('Split', [x, graph.ints(sizes)], sizes.length, { axis: { int: -1 } });
  return (layer: number, x: Value) => {
    const [turning, v] = parts(joined(layer, x), [queries + keys, keys]);
    const turned = graph.node(
      'RotaryEmbedding',
      [graph.node('Unsqueeze', [turning!, graph.ints([0])]), rotation.cos, rotation.sin],
      { num_heads: { int: heads + keyValueHeads } },
    );
    const [q, k] = parts(turned, [queries, keys]);
    return { q: tape.constant(q!), k: tape.constant(k!), v: tape.constant(v!) };
  };
}

/** The same for one token a lane: [N, heads, 1, headDim] each, as attention reads them. */
function stepInputs({ tape, config, rotation, weight, joined }: InputParts) {
  const { graph } = tape;
  const { heads, keyValueHeads, headDim, queryKeyNorm, rmsNormEps } = config;
  const byHead = graph.ints([-1, heads + 2 * keyValueHeads, 1, headDim]);
  const parts = (x: Value, sizes: number[]) =>
    graph.nodes('Split', [x, graph.ints(sizes)], sizes.length, { axis: { int: 1 } });
  const turned = (x: Value) => graph.node('RotaryEmbedding', [x, rotation.cos, rotation.sin]);
  return (layer: number, x: Value) => {
    const all = graph.node('Reshape', [joined(layer, x), byHead]);
    if (queryKeyNorm) {
      const at = `model.layers.${layer}.self_attn`;
      const [q, k, v] = parts(all, [heads, keyValueHeads, keyValueHeads]).map((y) => tape.constant(y));
      const normal = (y: Tensor, name: string) =>
        tape.constant(turned(rmsNorm(tape, y, weight(`${at}.${name}.weight`), rmsNormEps)));
      return { q: normal(q!, 'q_norm'), k: normal(k!, 'k_norm'), v: v! };
    }
    const [turning, v] = parts(all, [heads + keyValueHeads, keyValueHeads]);
    const [q, k] = parts(turned(turning!), [heads, keyValueHeads]);
    return { q: tape.constant(q!), k: tape.constant(k!), v: tape.constant(v!) };
  };
}

/** Embeddings of the tokens, but for those that are parts of an image. */
function withImages(tape: Tape, config: ModelConfig, weights: WeightSource, ids: Value) {
  const { graph } = tape;
  const table = weights.get('model.embed_tokens.weight', [config.vocabSize, config.hiddenSize]);
  const looked = graph.node('Gather', [table, ids], { axis: { int: 0 } });
  const rows = graph.input('image_rows', 'int64', ['I', 1]);
  const tokens = graph.input('image_tokens', 'float32', ['I', config.hiddenSize]);
  return tape.constant(graph.node('ScatterND', [looked, rows, tokens]));
}
