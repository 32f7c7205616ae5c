import { frozenHeadLoss } from '../autodiff/head-loss.ts';
import { crossEntropy, embedding, linear, replaceRows, selectRows } from '../autodiff/ops.ts';
import { type Products, Tape, type Tensor } from '../autodiff/tape.ts';
import type { Checkpoint, Stored } from '../checkpoint/checkpoint.ts';
import type { LlavaCheckpoint } from '../checkpoint/vision.ts';
import type { ModelConfig } from '../models/config.ts';
import { decoder, headWeightName, linearModules, weightShapes } from '../models/transformer.ts';
import { OnnxGraph, type Value } from '../onnx/graph.ts';
import { WeightSource } from '../onnx/weights.ts';
import {
  type FrozenLinear,
  type FrozenPrecision,
  FrozenWeights,
  int8Linear,
  nf4Linear,
} from './frozen-linear.ts';
import { loraAdapter, loraOwnWeights } from './lora.ts';
import { type TrainableSpec, trainableShapes } from './methods.ts';
import { isLong, packedAttention } from './packed-attention.ts';
import { prefixEncoder } from './prefix.ts';
import { type SightSpec, sightRows, sightShapes, sightTensors } from './sight.ts';

/** A serialised graph and what its session needs. */
export interface BuiltGraph {
  model: Uint8Array;
  /** File by location. */
  files: ReadonlyMap<string, string>;
  /** Modules whose adapter's input is dropped at random, with its width. */
  dropout: ReadonlyMap<string, number>;
  /** Frozen weights that are fed. */
  frozen: FrozenWeights;
}

export interface BuildOptions {
  /** Rows of the rotary tables. */
  positions: number;
  /** Writes the backward pass. */
  gradients: boolean;
  /** Keeps only each layer's input and computes the layer again in the backward pass. */
  checkpointing: boolean;
  /** Of the linear layers that do not train. */
  precision: FrozenPrecision;
  /** Of all matrix products but those of frozen layers in another precision. */
  products: Products;
  /** Weights that another graph of the same precision has packed already. */
  frozen?: FrozenWeights;
  /** What the model sees with, where it does. */
  sight?: Sight;
}

/** Tower and projector before a decoder, and what of them trains. */
export interface Sight extends SightSpec {
  /** In float32; of what trains in full only the configuration is read. */
  checkpoint: LlavaCheckpoint;
}

/**
 * Writes a model's forward pass from packed tokens to the mean loss, and its backward pass.
 *
 * What trains is an input under its parameter's name; outputs are `loss` and, for each parameter, `grad:NAME`. With
 * products in float16 gradients come multiplied by the input `loss_scale`.
 * @param checkpoint in float32; for products in float16 as `float16Checkpoint` stores it
 */
export function buildTraining(
  checkpoint: Checkpoint,
  spec: TrainableSpec,
  options: BuildOptions,
): BuiltGraph {
  const { config } = checkpoint;
  const inHalf = options.products !== 'float32';
  const tape = new Tape(new OnnxGraph(), options.products);
  const { graph } = tape;
  const parameters = new Map<string, Tensor>();
  for (const [name, shape] of allTrainable(config, spec, options.sight)) {
    const value = graph.input(name, 'float32', shape);
    parameters.set(name, options.gradients ? tape.parameter(value) : tape.constant(value));
  }
  const parameter = (name: string) => parameters.get(name)!;
  const weights = new WeightSource(graph, withSight(checkpoint, options.sight));
  const shapes = weightShapes(config);
  const lora = spec.method === 'lora' || spec.method === 'qlora' ? spec.lora : undefined;
  // An adapter may train some of the model's own weights, under names of its own.
  const renamed = new Map(
    lora ? [...loraOwnWeights(config, lora)].map(([name, weight]) => [weight, name]) : [],
  );
  const wide = new Map<string, Value>();
  const frozenWeight = (name: string): Value => {
    const shape = shapes.get(name)!;
    if (!inHalf || shape.length !== 2) return weights.get(name, shape);
    const known = wide.get(name) ?? tape.fromHalf(weights.get(name, shape, 'float16'));
    wide.set(name, known);
    return known;
  };
  const weight = (name: string): Tensor =>
    parameters.get(renamed.get(name) ?? name) ?? tape.constant(frozenWeight(name));

  const ids = graph.input('input_ids', 'int64', ['N']);
  const half = config.headDim / 2;
  const positions = graph.input('position_ids', 'int64', [1, 'N']);
  const angles = (name: string) =>
    graph.node('Gather', [graph.input(name, 'float32', [options.positions, half]), positions], {
      axis: { int: 0 },
    });
  const rotation = { cos: angles('rope_cos'), sin: angles('rope_sin'), sinBack: angles('rope_sin_back') };
  const layout = {
    slotRows: graph.input('slot_rows', 'int64', ['S']),
    slotMask: graph.input('slot_mask', 'float32', ['S', 1]),
    rowSlots: graph.input('row_slots', 'int64', ['N']),
    mask: graph.input('attention_mask', 'float32', ['B', 1, 1, 'T', 'K']),
    slotShape: graph.input('slot_shape', 'int64', [4]),
    ...(isLong(options.positions) ? { queryParts: graph.input('query_parts', 'int64', ['Q']) } : {}),
  };
  // A layer that is computed again keeps none of its probabilities anyway.
  const again = options.gradients && !options.checkpointing && isLong(options.positions);
  const labelRows = graph.input('label_rows', 'int64', ['M']);
  const labels = graph.input('labels', 'int64', ['M']);

  const dropout = new Map<string, number>();
  const scale =
    lora?.loraDropout && options.gradients ? graph.input('dropout_scale', 'float32', [1]) : undefined;
  // A layer that is computed again drops the same.
  const masks = new Map<string, Value>();
  const dropped = (module: string, inputs: number) => {
    const kept = masks.get(module) ?? graph.input(`keep:${module}`, 'bool', ['N', inputs]);
    masks.set(module, kept);
    dropout.set(module, inputs);
    return { kept, factor: scale! };
  };
  const frozen = options.frozen ?? new FrozenWeights(checkpoint);
  const modules = linearModules(config);
  const isFrozen = (module: string) => !parameters.has(renamed.get(`${module}.weight`) ?? `${module}.weight`);
  const packed = frozenLinear();
  const batch = graph.node('Slice', [layout.slotShape, graph.ints([0]), graph.ints([1])]);
  const prefix =
    spec.method === 'ptuning_v2'
      ? {
          tokens: spec.prefix.numVirtualTokens,
          layer: prefixEncoder(tape, config, spec.prefix, parameter, batch),
        }
      : undefined;
  const hidden = decoder(tape, config, ids, {
    weight,
    ...(options.sight ? { embed: embedWith(options.sight) } : {}),
    rotation,
    attention: packedAttention(tape, config, layout, prefix, again),
    ...(packed ? { linear: packed } : {}),
    ...(lora ? { adapt: loraAdapter(tape, config, lora, parameter, scale && dropped) } : {}),
    ...(options.checkpointing && options.gradients
      ? { checkpoint: (x: Tensor, layer: (x: Tensor) => Tensor) => tape.checkpoint(x, layer) }
      : {}),
  });
  // Logits only where there is a label.
  const labelled = selectRows(tape, hidden, labelRows);
  const head = weight(headWeightName(config));
  const loss = head.needsGrad
    ? crossEntropy(tape, linear(tape, labelled, head), labels)
    : frozenHeadLoss(tape, labelled, head, labels, graph.input('label_chunks', 'int64', ['C']));
  graph.output(loss, 'loss');
  if (options.gradients) {
    const lossScale = inHalf ? graph.input('loss_scale', 'float32', []) : undefined;
    const gradients = tape.gradients(loss, [...parameters.values()], lossScale);
    for (const [i, name] of [...parameters.keys()].entries()) graph.output(gradients[i]!, `grad:${name}`);
  }
  return { model: graph.serialize(), files: weights.files, dropout, frozen };

  /** Tokens are looked up, images are seen. */
  function embedWith(sight: Sight): (ids: Value) => Tensor {
    return (ids) => {
      const rows = {
        features: graph.input('feature_rows', 'int64', ['R']),
        images: graph.input('image_rows', 'int64', ['R']),
      };
      const find = (name: string) => parameters.get(name);
      const images = sightRows(tape, sight.checkpoint.config, sight, weights, find, rows.features);
      const tokens = embedding(tape, weight('model.embed_tokens.weight'), ids);
      return replaceRows(tape, tokens, images, rows.images);
    };
  }

  function frozenLinear(): ((...of: Parameters<FrozenLinear>) => Tensor | undefined) | undefined {
    const { precision } = options;
    if (precision === 'float32') return undefined;
    const those = new Map([...modules].filter(([module]) => isFrozen(module)));
    if (precision === 'nf4') frozen.addNf4(those);
    const linearOf = precision === 'nf4' ? nf4Linear(tape, those) : int8Linear(tape, those, frozen, weight);
    return (module, x, bias) => (those.has(module) ? linearOf(module, x, bias) : undefined);
  }
}

/** Shapes of all that trains. */
export function allTrainable(
  config: ModelConfig,
  spec: TrainableSpec,
  sight: Sight | undefined,
): Map<string, number[]> {
  const shapes = trainableShapes(config, spec);
  return sight ? new Map([...shapes, ...sightShapes(sight.checkpoint.config, sight)]) : shapes;
}

/** The tensors of all parts; the names of tower and projector begin with the part's. */
function withSight({ tensors }: Checkpoint, sight: Sight | undefined): Stored {
  return sight ? { tensors: new Map([...tensors, ...sightTensors(sight.checkpoint).tensors]) } : { tensors };
}
