import { squareProcessor } from '../square-processor.ts';
import { IMAGE_TOKEN, TINY } from '../tiny-model.ts';
import { writeExported } from './folder.ts';

const SIDE = 12;
const PATCH = 4;
export const PALIGEMMA_TOKENS = (SIDE / PATCH) ** 2;

/** PaliGemma: images, start token, text and a line break; positions from 1, as transformers.js gives them. */
export function writePaliGemma(folder: string): void {
  writeExported(folder, {
    config: {
      model_type: 'paligemma',
      architectures: ['PaliGemmaForConditionalGeneration'],
      image_token_index: IMAGE_TOKEN,
      vision_config: { num_image_tokens: PALIGEMMA_TOKENS, image_size: SIDE, patch_size: PATCH },
    },
    preprocessor: squareProcessor(SIDE, {
      image_processor_type: 'SiglipImageProcessor',
      processor_class: 'PaliGemmaProcessor',
      image_seq_length: PALIGEMMA_TOKENS,
      do_center_crop: false,
    }),
    tokenizer: { added: ['<image>', '<loc0001>', '<loc0002>'], frame: 'none' },
    vision(graph) {
      const pixels = graph.input('pixel_values', 'float32', ['num_images', 3, SIDE, SIDE]);
      const features = graph.linear(graph.patches(pixels, PATCH), TINY.hidden, TINY.hidden);
      graph.output(features, 'image_features', 'float32', ['num_images', PALIGEMMA_TOKENS, TINY.hidden]);
    },
  });
}
