import { initialLlavaWeights } from '../src/checkpoint/initial-llava.ts';
import { type LlavaCheckpoint, openLlava } from '../src/checkpoint/vision.ts';
import { writeModel } from '../src/checkpoint/write-model.ts';
import type { Sequence } from '../src/training/packing.ts';
import { type SequenceImage, withImagePlaces } from '../src/training/sequence-images.ts';
import { between } from './random.ts';
import { SMALL } from './random-model.ts';

export const IMAGE_TOKEN = 3;

/** A small LLaVA's config.json. */
export const SMALL_LLAVA = {
  model_type: 'llava',
  image_token_index: IMAGE_TOKEN,
  text_config: SMALL,
  tie_word_embeddings: false,
  vision_config: {
    model_type: 'clip_vision_model',
    hidden_size: 12,
    intermediate_size: 20,
    num_hidden_layers: 3,
    num_attention_heads: 2,
    image_size: 11,
    patch_size: 5,
  },
  vision_feature_layer: -2,
  vision_feature_select_strategy: 'default',
} as const;

/** LLaVAs that differ in what an engine can get wrong. */
export const LLAVA_VARIANTS: Record<string, Record<string, unknown>> = {
  'llama, class position left out': {},
  'qwen2, tied, class position kept, last layer, no bias': {
    text_config: { ...SMALL, model_type: 'qwen2', tie_word_embeddings: true },
    tie_word_embeddings: true,
    vision_feature_layer: 3,
    vision_feature_select_strategy: 'full',
    multimodal_projector_bias: false,
    vision_config: { ...SMALL_LLAVA.vision_config, hidden_act: 'gelu', num_channels: 1 },
  },
};

/** Writes a folder with random weights, biases and norms included. */
export function randomLlava(
  folder: string,
  changes: Record<string, unknown>,
  random: () => number,
): LlavaCheckpoint {
  const config = { ...SMALL_LLAVA, ...changes };
  const weights = initialLlavaWeights(config, random);
  for (const { shape, data } of weights.values())
    if (shape.length === 1) for (let i = 0; i < data.length; i++) data[i]! += 0.4 * (random() - 0.5);
  writeModel(folder, config, weights);
  return openLlava(folder);
}

/** An image of random pixels. */
export function randomImage({ config }: LlavaCheckpoint, random: () => number): SequenceImage {
  const { channels, imageSize } = config.vision;
  const values = Float32Array.from({ length: channels * imageSize ** 2 }, () => 2 * random() - 1);
  return { key: String(random()), pixels: () => values };
}

/** Sequences of random tokens, among them as many images as `images` says of each, with a label for most tokens. */
export function randomSeeing(
  checkpoint: LlavaCheckpoint,
  images: readonly number[],
  random: () => number,
): Sequence[] {
  return images.map((count) => {
    const own = Array.from({ length: count }, () => randomImage(checkpoint, random));
    const ids: number[] = [];
    const text = () => {
      for (let i = between(random, 2, 4); i > 0; i--) ids.push(between(random, IMAGE_TOKEN + 1, 96));
    };
    text();
    for (let i = 0; i < count; i++) {
      ids.push(IMAGE_TOKEN);
      text();
    }
    const labels = ids.map((id, i) =>
      id !== IMAGE_TOKEN && (i === ids.length - 1 || random() < 0.6) ? id : -100,
    );
    return withImagePlaces(checkpoint.config, { ids, labels, images: own });
  });
}
