/** A LLaVA folder made for tests: the tiny model behind a small tower, random weights from a seed. */

import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { type NamedTensor, writeSafetensors } from '@landfall/graph/checkpoint/safetensors.ts';
import sharp from 'sharp';
import { squareProcessor } from './square-processor.ts';
import { IMAGE_TOKEN, random, TINY, tensor, tinyConfig, tinyWeights, writeTokenizer } from './tiny-model.ts';

/** A grid of 3 x 2 would be no square: towers take squares. */
export const TOWER = { hidden: 16, intermediate: 24, layers: 3, heads: 2, imageSize: 12, patchSize: 4 };
export const PATCHES = (TOWER.imageSize / TOWER.patchSize) ** 2;

/** Takes the parts of a message one by one, images first, as the templates of llava-hf do. */
const PARTS_TEMPLATE =
  "{{ bos_token }}{% for m in messages %}{{ '<|' + m['role'] + '|>' }}" +
  "{% for part in m['content'] %}{% if part['type'] == 'image' %}{{ '<image>\\n' }}{% endif %}{% endfor %}" +
  "{% for part in m['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}" +
  "{{ '<|end|>' }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}";

/** Writes the folder; with `parts` its chat template takes messages in parts. */
export function writeTinyLlava(folder: string, options: { seed?: number; parts?: boolean } = {}): void {
  writeTokenizer(folder, { image: true, ...(options.parts ? { template: PARTS_TEMPLATE } : {}) });
  const { hidden, intermediate, layers, heads, imageSize, patchSize } = TOWER;
  const config = {
    architectures: ['LlavaForConditionalGeneration'],
    model_type: 'llava',
    image_token_index: IMAGE_TOKEN,
    vision_feature_layer: -2,
    vision_feature_select_strategy: 'default',
    text_config: tinyConfig(),
    vision_config: {
      model_type: 'clip_vision_model',
      hidden_size: hidden,
      intermediate_size: intermediate,
      num_hidden_layers: layers,
      num_attention_heads: heads,
      image_size: imageSize,
      patch_size: patchSize,
    },
  };
  writeFileSync(path.join(folder, 'config.json'), JSON.stringify(config));
  const processor = squareProcessor(imageSize, { processor_class: 'LlavaProcessor' });
  writeFileSync(path.join(folder, 'preprocessor_config.json'), JSON.stringify(processor));
  const next = random(options.seed ?? 1);
  const weights = new Map<string, NamedTensor>();
  for (const [name, weight] of tinyWeights(next)) weights.set(`language_model.${name}`, weight);
  for (const [name, weight] of towerWeights(next)) weights.set(`vision_tower.vision_model.${name}`, weight);
  for (const [name, outputs, inputs] of [
    ['linear_1', TINY.hidden, hidden],
    ['linear_2', TINY.hidden, TINY.hidden],
  ] as const) {
    const at = `multi_modal_projector.${name}`;
    weights.set(`${at}.weight`, tensor(next, [outputs, inputs], 3 / Math.sqrt(inputs)));
    weights.set(`${at}.bias`, tensor(next, [outputs], 0.1));
  }
  writeSafetensors(path.join(folder, 'model.safetensors'), weights);
}

function towerWeights(next: () => number): Map<string, NamedTensor> {
  const { hidden, intermediate, layers, patchSize } = TOWER;
  const weights = new Map<string, NamedTensor>();
  const linear = (name: string, n: number, k: number) => {
    weights.set(`${name}.weight`, tensor(next, [n, k], 2 / Math.sqrt(k)));
    weights.set(`${name}.bias`, tensor(next, [n], 0.1));
  };
  const norm = (name: string) => {
    weights.set(`${name}.weight`, { shape: [hidden], data: new Float32Array(hidden).fill(1) });
    weights.set(`${name}.bias`, tensor(next, [hidden], 0.1));
  };
  weights.set('embeddings.class_embedding', tensor(next, [hidden], 1));
  weights.set('embeddings.patch_embedding.weight', tensor(next, [hidden, 3, patchSize, patchSize], 0.3));
  weights.set('embeddings.position_embedding.weight', tensor(next, [PATCHES + 1, hidden], 0.3));
  norm('pre_layrnorm');
  for (let i = 0; i < layers; i++) {
    const layer = `encoder.layers.${i}`;
    for (const module of ['q_proj', 'k_proj', 'v_proj', 'out_proj'])
      linear(`${layer}.self_attn.${module}`, hidden, hidden);
    linear(`${layer}.mlp.fc1`, intermediate, hidden);
    linear(`${layer}.mlp.fc2`, hidden, intermediate);
    norm(`${layer}.layer_norm1`);
    norm(`${layer}.layer_norm2`);
  }
  norm('post_layernorm');
  return weights;
}

/** A picture of random blocks, encoded. */
export async function randomImage(
  next: () => number,
  type: 'png' | 'jpeg' | 'webp' = 'png',
  side = 24,
): Promise<Uint8Array> {
  const data = Buffer.from(Array.from({ length: 3 * side * side }, () => Math.floor(next() * 256)));
  const image = sharp(data, { raw: { width: side, height: side, channels: 3 } });
  return new Uint8Array(await image.toFormat(type).toBuffer());
}
