import type { NamedTensor } from '@landfall/graph/checkpoint/safetensors.ts';
import { writeDecoderWithPast } from '@landfall/graph/export/onnx-graph.ts';
import { readModelConfig } from '@landfall/graph/models/config.ts';
import type { Dimension, ElementType, Value } from '@landfall/graph/onnx/graph.ts';
import { IMAGE_TOKEN, SPECIAL, TINY, tinyConfig } from '../tiny-model.ts';
import { TinyGraph, writeExported } from './folder.ts';
import { QWEN_TEMPLATE } from './templates.ts';

const PATCH = 2;
const MERGE = 2;
const FRAMES = 2;

/** A decoder of one position a token that takes three, of time, height and width, each of which counts. */
class ThreePositions extends TinyGraph {
  override input(name: string, type: ElementType, shape: readonly Dimension[]): Value {
    if (name !== 'position_ids') return super.input(name, type, shape);
    const positions = super.input(name, type, [3, ...shape]);
    const weights = this.weight('position.weights', [3, 1, 1], Float32Array.of(1, 0.375, 0.125));
    const parts = this.node('Mul', [this.cast(positions, 'float32'), weights]);
    return this.node('ReduceSum', [parts, this.ints([0])], { keepdims: { int: 0 } });
  }
}

/**
 * Qwen2-VL: images at sizes of their own, a token for every square of four patches.
 * @param echoes instead of a model one that says the last token's first position, as the byte of that value
 */
export function writeQwen2Vl(folder: string, options: { echoes?: boolean } = {}): void {
  const values = 3 * FRAMES * PATCH ** 2;
  writeExported(folder, {
    config: {
      ...tinyConfig(),
      model_type: 'qwen2_vl',
      architectures: ['Qwen2VLForConditionalGeneration'],
      vision_start_token_id: IMAGE_TOKEN,
      image_token_id: IMAGE_TOKEN + 1,
      vision_end_token_id: IMAGE_TOKEN + 2,
      video_token_id: IMAGE_TOKEN + 3,
      vision_config: { spatial_merge_size: MERGE, patch_size: PATCH, temporal_patch_size: FRAMES },
    },
    preprocessor: {
      image_processor_type: 'Qwen2VLImageProcessor',
      processor_class: 'Qwen2VLProcessor',
      min_pixels: 64,
      max_pixels: 400,
      patch_size: PATCH,
      temporal_patch_size: FRAMES,
      merge_size: MERGE,
      do_resize: true,
      do_rescale: true,
      rescale_factor: 1 / 255,
      do_normalize: true,
      image_mean: [0.5, 0.5, 0.5],
      image_std: [0.25, 0.25, 0.25],
      resample: 3,
    },
    tokenizer: {
      added: ['<|vision_start|>', '<|image_pad|>', '<|vision_end|>', '<|video_pad|>'],
      template: QWEN_TEMPLATE,
      frame: 'none',
    },
    vision(graph) {
      const pixels = graph.input('pixel_values', 'float32', ['patches', values]);
      const grid = graph.input('grid_thw', 'int64', ['images', 3]);
      // As many patches as the grid says, or there is no answer.
      const each = graph.node('ReduceProd', [grid, graph.ints([1])], { keepdims: { int: 0 } });
      const count = graph.node('ReduceSum', [each, graph.ints([0])], { keepdims: { int: 1 } });
      const shape = graph.node('Concat', [count, graph.ints([values])], { axis: { int: 0 } });
      const hidden = graph.node('Tanh', [graph.linear(graph.node('Reshape', [pixels, shape]), values, 16)]);
      const merged = graph.node('Reshape', [hidden, graph.ints([-1, 16 * MERGE ** 2])]);
      const features = graph.linear(merged, 16 * MERGE ** 2, TINY.hidden);
      graph.output(features, 'image_features', 'float32', ['tokens', TINY.hidden]);
    },
    decoder: options.echoes ? echoPosition : decoder,
  });
}

function decoder(next: () => number, weights: ReadonlyMap<string, NamedTensor>): TinyGraph {
  const graph = new ThreePositions(next);
  writeDecoderWithPast(graph, readModelConfig(tinyConfig()), graph.given(weights), true);
  return graph;
}

/** Likeliest is the byte of the first of the last token's three positions. */
function echoPosition(next: () => number): TinyGraph {
  const graph = new TinyGraph(next);
  const batch = ['batch_size', 'sequence_length'];
  const embeds = graph.input('inputs_embeds', 'float32', [...batch, TINY.hidden]);
  const positions = graph.input('position_ids', 'int64', [3, ...batch]);
  const past = graph.input('past_key_values.0.key', 'float32', ['batch_size', 1, 'past', TINY.hidden]);
  const own = graph.node('Unsqueeze', [embeds, graph.ints([1])]);
  graph.output(graph.node('Concat', [past, own], { axis: { int: 2 } }), 'present.0.key');
  const time = graph.node('Gather', [positions, graph.int(0)], { axis: { int: 0 } });
  const column = graph.node('Unsqueeze', [graph.cast(time, 'float32'), graph.ints([2])]);
  const bytes = Float32Array.from({ length: TINY.vocabulary }, (_, token) => token - SPECIAL.length);
  const distance = graph.node('Sub', [column, graph.weight('bytes', [1, 1, TINY.vocabulary], bytes)]);
  const logits = graph.node('Neg', [graph.node('Abs', [distance])]);
  graph.output(logits, 'logits', 'float32', [...batch, TINY.vocabulary]);
  return graph;
}
