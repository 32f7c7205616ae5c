import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { initialLlavaWeights } from '@landfall/graph/checkpoint/initial-llava.ts';
import type { NamedTensor } from '@landfall/graph/checkpoint/safetensors.ts';
import { writeModel } from '@landfall/graph/checkpoint/write-model.ts';
import { loadTokenizer, type Tokenizer } from '@landfall/trainer/engine/data/tokenizer.ts';
import { Random } from '../base-model/random.ts';
import { SPECIAL } from '../base-model/tokenizer.ts';
import { ANSWER_SCALE } from './answer.ts';
import { PREPROCESSOR, VISION } from './config.ts';
import { writeInspectionTokenizer } from './tokenizer.ts';

const id = (token: string) => SPECIAL.indexOf(token);
const ENDS = { bos_token_id: id('<|bos|>'), eos_token_id: id('<|end|>'), pad_token_id: id('<|pad|>') };

/** The config.json of the LLaVA. */
export function configOf(vocabularySize: number, imageToken: number): Record<string, unknown> {
  return {
    architectures: ['LlavaForConditionalGeneration'],
    model_type: 'llava',
    image_token_index: imageToken,
    image_seq_length: (VISION.image_size / VISION.patch_size) ** 2,
    projector_hidden_act: 'gelu',
    multimodal_projector_bias: true,
    vision_feature_layer: -1,
    vision_feature_select_strategy: 'default',
    tie_word_embeddings: true,
    text_config: {
      model_type: 'llama',
      vocab_size: vocabularySize,
      hidden_size: 128,
      intermediate_size: 384,
      num_hidden_layers: 3,
      num_attention_heads: 4,
      num_key_value_heads: 4,
      head_dim: 32,
      hidden_act: 'silu',
      max_position_embeddings: 1024,
      rms_norm_eps: 1e-5,
      rope_parameters: { rope_type: 'default', rope_theta: 10_000 },
      tie_word_embeddings: true,
      attention_bias: false,
      mlp_bias: false,
      initializer_range: 0.05,
      ...ENDS,
    },
    vision_config: VISION,
    ...ENDS,
  };
}

/** Writes all of a model's folder but for the weights. @returns its config.json's content */
export function writeAround(folder: string): Record<string, unknown> {
  mkdirSync(folder, { recursive: true });
  const { vocabularySize, imageToken } = writeInspectionTokenizer(folder);
  const json = (name: string, value: object) =>
    writeFileSync(join(folder, name), `${JSON.stringify(value, null, 2)}\n`);
  json('generation_config.json', ENDS);
  json('preprocessor_config.json', PREPROCESSOR);
  json('processor_config.json', {
    processor_class: 'LlavaProcessor',
    image_token: '<image>',
    patch_size: VISION.patch_size,
    num_additional_image_tokens: 1,
    vision_feature_select_strategy: 'default',
  });
  return configOf(vocabularySize, imageToken);
}

/** Frequencies of the waves that places begin as, in half waves over the image; the highest tells neighbours apart. */
const WAVES = Array.from({ length: 16 }, (_, i) => 0.5 * 2 ** (i / 3));
const AMPLITUDE = 0.25;

/**
 * Sets the embeddings of the places of boxes to waves (Vaswani et al. 2017): what is learnt of one place then holds for
 * those beside it from the beginning.
 * @param embeddings [vocabulary, size], those of the answer's tokens too, since they are tied
 */
export function seedPlaces({ shape, data }: NamedTensor, tokenizer: Pick<Tokenizer, 'encode'>): void {
  const size = shape[1]!;
  for (let place = 0; place <= ANSWER_SCALE; place++) {
    const row = data.subarray(tokenizer.encode(String(place))[0]! * size).subarray(0, 2 * WAVES.length);
    for (const [i, wave] of WAVES.entries()) {
      const angle = (Math.PI * wave * place) / ANSWER_SCALE;
      row[2 * i] = AMPLITUDE * Math.cos(angle);
      row[2 * i + 1] = AMPLITUDE * Math.sin(angle);
    }
  }
}

/** Writes a folder to train from: a tower that sees, a decoder that knows nothing. @param tower by the names within it */
export async function writeBeginning(folder: string, tower: ReadonlyMap<string, NamedTensor>): Promise<void> {
  const config = writeAround(folder);
  const random = new Random(11);
  const weights = initialLlavaWeights(config, () => random.next());
  const prefix = 'vision_tower.vision_model.';
  for (const [name, tensor] of weights)
    if (name.startsWith(prefix)) weights.set(name, tower.get(name.slice(prefix.length)) ?? tensor);
  seedPlaces(weights.get('language_model.model.embed_tokens.weight')!, await loadTokenizer(folder));
  writeModel(folder, config, weights);
}
