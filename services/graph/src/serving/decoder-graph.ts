import { Tape } from '../autodiff/tape.ts';
import type { StoredTensor } from '../checkpoint/checkpoint.ts';
import type { ModelConfig } from '../models/config.ts';
import { type Attention, decoder, headWeightName, weightShapes } from '../models/transformer.ts';
import type { OnnxGraph, Value } from '../onnx/graph.ts';
import { WeightSource } from '../onnx/weights.ts';
import { lookingLayers, queriesOf } from './image-attention.ts';
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
 * | write_tokens | [B, M] | new tokens of which a lane's keys are put among those that it reads |
 * | write_positions | [B] | place of the first of them there; the others follow |
 * | attention_mask | [B, 1, T * G, P * blockSize] | added to the scores |
 * | logit_rows | [L] | tokens whose logits are asked for |
 * | query_shape | [4] | B, T, H, G * headDim |
 * | image_rows | [I, 1] | tokens in whose place something else stands, where the graph takes images |
 * | image_tokens | [I, hiddenSize] | what that is |
 *
 * and, where it is adapted, those of AdapterBank. Query heads are read as H heads of G queries a token, H * G = heads: a step's one token (H the
 * kv heads) then reads each key once for all its heads, a chunk (G = 1) has more heads to share among threads.
 *
 * Outputs: logits [L, vocabSize], the likeliest of each row as top_tokens [L] and top_logits [L], new_key_values
 * [2 * layers * N, kv heads, headDim]; where the graph takes images, of the layers that `lookingLayers` names the rotated
 * queries as `queries:LAYER` [N, heads * headDim].
 */
export function decoderGraph(
  config: ModelConfig,
  packed: ReadonlyMap<string, StoredTensor>,
  pool: { blocks: number; blockSize: number },
  options: PackingOptions,
  { adapted, images }: { adapted: boolean; images: boolean },
): DecoderGraph {
  const tape = new Tape();
  const { graph } = tape;
  const weights = new WeightSource(graph, { tensors: packed });
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
    adapted,
  );
  const groups = linearGroups(config);
  const qkv = groups.find(({ kind }) => kind === 'qkv')!;
  const [queries, keys, values] = qkv.outputs as [number, number, number];
  const parts = (x: Value, sizes: number[]) =>
    graph.nodes('Split', [x, graph.ints(sizes)], sizes.length, { axis: { int: -1 } });
  /** Queries and keys are rotated as the heads of one tensor. */
  const rotated = (layer: number, x: Value) => {
    const [turning, v] = parts(linear.joined(layer, qkv, x), [queries + keys, values]);
    const turned = graph.node(
      'RotaryEmbedding',
      [graph.node('Unsqueeze', [turning!, graph.ints([0])]), rotation.cos, rotation.sin],
      { num_heads: { int: config.heads + config.keyValueHeads } },
    );
    const [q, k] = parts(turned, [queries, keys]);
    return { q: tape.constant(q!), k: tape.constant(k!), v: tape.constant(v!) };
  };
  const hidden = decoder(tape, config, ids, {
    weight: (name) => tape.constant(weights.get(name, shapes.get(name)!)),
    rotation,
    ...(images ? { embed: (tokens: Value) => withImages(tape, config, weights, tokens) } : {}),
    ...(config.queryKeyNorm ? {} : { attentionInputs: rotated }),
    together(modules, x) {
      const [, layer, first] = /^model\.layers\.(\d+)\.(.*)$/.exec(modules[0]!)!;
      const group = groups.find(({ modules: [name] }) => name === first)!;
      return linear.group(Number(layer), group, x).map((y) => tape.constant(y));
    },
    attention: pooledAttention(tape, config, pool, fresh, images ? lookingLayers(config) : []),
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

/** Embeddings of the tokens, but for those that are parts of an image. */
function withImages(tape: Tape, config: ModelConfig, weights: WeightSource, ids: Value) {
  const { graph } = tape;
  const table = weights.get('model.embed_tokens.weight', [config.vocabSize, config.hiddenSize]);
  const looked = graph.node('Gather', [table, ids], { axis: { int: 0 } });
  const rows = graph.input('image_rows', 'int64', ['I', 1]);
  const tokens = graph.input('image_tokens', 'float32', ['I', config.hiddenSize]);
  return tape.constant(graph.node('ScatterND', [looked, rows, tokens]));
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
  looking: readonly number[],
): Attention {
  const { graph } = tape;
  const { heads, keyValueHeads, headDim, layers } = config;
  const sides = 2 * layers;
  const pool = graph.input('pool', 'float32', [sides * keyValueHeads * blocks, blockSize * headDim]);
  const blockRows = graph.input('block_rows', 'int64', ['B', keyValueHeads, 'P']);
  const writeTokens = graph.input('write_tokens', 'int64', ['B', 'M']);
  const writePositions = graph.input('write_positions', 'int64', ['B']);
  const mask = graph.input('attention_mask', 'float32', ['B', 1, 'Q', 'S']);
  const queryShape = graph.input('query_shape', 'int64', [4]);
  const part = (from: number) =>
    graph.node('Slice', [queryShape, graph.ints([from]), graph.ints([from + 1])]);
  const keyShape = joined(graph, part(0), graph.ints([keyValueHeads, -1, headDim]));
  const mixedShape = joined(graph, graph.ints([0, 0]), part(1), graph.ints([-1]));
  // Of every side at once: one by one they would be as many small operations.
  const sideRows = graph.nodes(
    'Split',
    [graph.node('Add', [blockRows, graph.ints(range(sides, keyValueHeads * blocks), [sides, 1, 1, 1])])],
    sides,
    { axis: { int: 0 }, num_outputs: { int: sides } },
  );
  const swapped = { perm: { ints: [0, 2, 1, 3] } } as const;
  const rows = { axis: { int: 0 } } as const;
  const withPast = (side: number, added: Value) => {
    const read = graph.node('Reshape', [graph.node('Gather', [pool, sideRows[side]!], rows), keyShape]);
    // The new ones are written in place, and not into a copy, only where the shape has names.
    const past = graph.shape(read, 'float32', ['B', keyValueHeads, 'S', headDim]);
    const own = graph.node('Transpose', [graph.node('Gather', [added, writeTokens], rows)], swapped);
    return graph.node('TensorScatter', [past, own, writePositions], { axis: { int: 2 } });
  };
  return {
    attend(layer, q, k, v) {
      const added = [k, v].map((x) => graph.node('Reshape', [x, graph.ints([-1, keyValueHeads, headDim])]));
      fresh.push(...added);
      if (looking.includes(layer))
        graph.output(graph.node('Reshape', [q, graph.ints([-1, heads * headDim])]), queriesOf(layer));
      const byHead = graph.node('Transpose', [graph.node('Reshape', [q, queryShape])], swapped);
      const queries = graph.node('Reshape', [byHead, graph.ints([0, 0, -1, headDim])]);
      const mixed = graph.node(
        'Attention',
        [queries, withPast(2 * layer, added[0]!), withPast(2 * layer + 1, added[1]!), mask],
        { scale: 1 / Math.sqrt(headDim) },
      );
      const byToken = graph.node('Transpose', [graph.node('Reshape', [mixed, mixedShape])], swapped);
      return tape.constant(graph.node('Reshape', [byToken, graph.ints([-1, heads * headDim])]));
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
