import { squareProcessor } from '../square-processor.ts';
import { IMAGE_TOKEN, TINY } from '../tiny-model.ts';
import { writeExported } from './folder.ts';
import { PARTS_TEMPLATE } from './templates.ts';

const SIDE = 12;
const PATCH = 4;

/**
 * LLaVA, or LLaVA-OneVision as transformers.js reads it: one square an image.
 * @param width of what the tower gives; the decoder takes the tiny model's
 */
export function writeLlava(
  folder: string,
  type: 'llava' | 'llava_onevision',
  width: number = TINY.hidden,
): void {
  writeExported(folder, {
    config: {
      model_type: type,
      architectures: [
        type === 'llava' ? 'LlavaForConditionalGeneration' : 'LlavaOnevisionForConditionalGeneration',
      ],
      image_token_index: IMAGE_TOKEN,
      vision_config: { model_type: 'siglip_vision_model', image_size: SIDE, patch_size: PATCH },
    },
    preprocessor: squareProcessor(SIDE, {
      processor_class: 'LlavaProcessor',
      ...(type === 'llava' ? {} : { image_processor_type: 'LlavaOnevisionImageProcessor' }),
    }),
    processor: {
      processor_class: 'LlavaProcessor',
      image_token: '<image>',
      patch_size: PATCH,
      num_additional_image_tokens: 0,
      vision_feature_select_strategy: 'full',
    },
    tokenizer: { added: ['<image>'], template: PARTS_TEMPLATE, frame: 'none' },
    vision(graph) {
      const pixels = graph.input('pixel_values', 'float32', ['num_images', 3, 'height', 'width']);
      const features = graph.linear(graph.patches(pixels, PATCH), TINY.hidden, width);
      graph.output(features, 'image_features', 'float32', ['num_images', 'patches', width]);
    },
  });
}
