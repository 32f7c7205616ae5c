import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeSafetensorsFrom } from '@landfall/graph/checkpoint/safetensors.ts';
import { projectorShapes, visionShapes } from '@landfall/graph/models/llava.ts';
import { readLlavaConfig } from '@landfall/graph/models/llava-config.ts';
import { weightShapes } from '@landfall/graph/models/transformer.ts';
import { CHAT_TEMPLATE, normals, tokenizer } from './model-parts.ts';
import { lcg } from './random.ts';

/** Name of its shape. */
export const LLAVA = 'llava-small';

const VOCABULARY = 8192;
/** Behind the other special tokens and the 256 bytes. */
const IMAGE_TOKEN = 3 + 256;
/** Pixels of a side. */
export const LLAVA_SIDE = 224;

/** Writes a LLaVA with random weights: ViT-S/16 at 224 pixels (196 patches) before a decoder of 16 layers; returns its parameters. */
export function makeLlava(folder: string): number {
  mkdirSync(folder, { recursive: true });
  const config = {
    architectures: ['LlavaForConditionalGeneration'],
    model_type: 'llava',
    image_token_index: IMAGE_TOKEN,
    vision_feature_layer: -2,
    vision_feature_select_strategy: 'default',
    text_config: {
      model_type: 'llama',
      hidden_size: 512,
      intermediate_size: 1408,
      num_hidden_layers: 16,
      num_attention_heads: 8,
      num_key_value_heads: 4,
      head_dim: 64,
      vocab_size: VOCABULARY,
      max_position_embeddings: 2048,
      rms_norm_eps: 1e-5,
      rope_theta: 10_000,
      tie_word_embeddings: false,
      bos_token_id: 0,
      eos_token_id: 2,
    },
    vision_config: {
      model_type: 'clip_vision_model',
      hidden_size: 384,
      intermediate_size: 1536,
      num_hidden_layers: 12,
      num_attention_heads: 6,
      image_size: LLAVA_SIDE,
      patch_size: 16,
    },
    dtype: 'float32',
  };
  const size = { height: LLAVA_SIDE, width: LLAVA_SIDE };
  const write = (name: string, json: object) =>
    writeFileSync(join(folder, name), `${JSON.stringify(json, null, 1)}\n`);
  write('config.json', config);
  write('generation_config.json', { bos_token_id: 0, eos_token_id: 2 });
  write('tokenizer.json', tokenizer(VOCABULARY, ['<image>']));
  write('tokenizer_config.json', {
    tokenizer_class: 'PreTrainedTokenizerFast',
    bos_token: '<|endoftext|>',
    eos_token: '<|im_end|>',
    model_max_length: 2048,
    chat_template: CHAT_TEMPLATE,
  });
  write('preprocessor_config.json', {
    image_processor_type: 'CLIPImageProcessor',
    processor_class: 'LlavaProcessor',
    size,
    crop_size: size,
    do_resize: true,
    do_center_crop: true,
    do_rescale: true,
    rescale_factor: 1 / 255,
    do_normalize: true,
    image_mean: [0.48145466, 0.4578275, 0.40821073],
    image_std: [0.26862954, 0.26130258, 0.27577711],
    resample: 3,
  });
  const llava = readLlavaConfig(config);
  const shapes = [
    ...named('language_model.', weightShapes(llava.language)),
    ...named('vision_tower.vision_model.', visionShapes(llava.vision)),
    ...named('multi_modal_projector.', projectorShapes(llava)),
  ];
  const random = lcg(224);
  let parameters = 0;
  const sources = new Map(
    shapes.map(([name, shape]) => {
      const count = shape.reduce((product, n) => product * n, 1);
      parameters += count;
      const norm = /norm.*\.weight$/.test(name);
      const read = () => (norm ? new Float32Array(count).fill(1) : normals(count, random));
      return [name, { shape: [...shape], read }] as const;
    }),
  );
  writeSafetensorsFrom(join(folder, 'model.safetensors'), sources);
  return parameters;
}

function named(prefix: string, shapes: ReadonlyMap<string, readonly number[]>) {
  return [...shapes].map(([name, shape]) => [`${prefix}${name}`, shape] as const);
}
