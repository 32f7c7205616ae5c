import { IMAGE_TOKEN, TINY } from '../tiny-model.ts';
import { writeExported } from './folder.ts';
import { SMOL_TEMPLATE } from './templates.ts';

const TILE = 8;
const PATCH = 4;
/** Tokens of a tile. */
export const TILE_TOKENS = (TILE / PATCH) ** 2;

/** SmolVLM and Idefics3: an image in up to 2 x 2 tiles, and once as a whole. */
export function writeSmolVlm(folder: string, type: 'smolvlm' | 'idefics3'): void {
  const tiles = [1, 2].flatMap((row) => [1, 2].map((column) => `<row_${row}_col_${column}>`));
  writeExported(folder, {
    config: {
      model_type: type,
      architectures: [
        type === 'smolvlm' ? 'SmolVLMForConditionalGeneration' : 'Idefics3ForConditionalGeneration',
      ],
      image_token_id: IMAGE_TOKEN,
      vision_config: { image_size: TILE, patch_size: PATCH },
    },
    preprocessor: {
      image_processor_type: type === 'smolvlm' ? 'SmolVLMImageProcessor' : 'Idefics3ImageProcessor',
      processor_class: type === 'smolvlm' ? 'SmolVLMProcessor' : 'Idefics3Processor',
      do_image_splitting: true,
      max_image_size: { longest_edge: TILE },
      size: { longest_edge: 2 * TILE },
      do_resize: true,
      do_rescale: true,
      rescale_factor: 1 / 255,
      do_normalize: true,
      image_mean: [0.5, 0.5, 0.5],
      image_std: [0.5, 0.5, 0.5],
      resample: 1,
    },
    processor: {
      processor_class: type === 'smolvlm' ? 'SmolVLMProcessor' : 'Idefics3Processor',
      image_seq_len: TILE_TOKENS,
    },
    tokenizer: {
      added: ['<image>', '<fake_token_around_image>', '<global-img>', ...tiles],
      template: SMOL_TEMPLATE,
      frame: 'none',
    },
    vision(graph) {
      const pixels = graph.input('pixel_values', 'float32', ['batch_size', 'tiles', 3, TILE, TILE]);
      const mask = graph.input('pixel_attention_mask', 'bool', ['batch_size', 'tiles', TILE, TILE]);
      const flat = graph.node('Reshape', [pixels, graph.ints([-1, 3, TILE, TILE])]);
      const real = graph.node('Reshape', [graph.cast(mask, 'float32'), graph.ints([-1, 1, TILE, TILE])]);
      const patches = graph.patches(graph.node('Mul', [flat, real]), PATCH);
      const features = graph.linear(patches, TINY.hidden, TINY.hidden);
      graph.output(features, 'image_features', 'float32', ['images', TILE_TOKENS, TINY.hidden]);
    },
  });
}
