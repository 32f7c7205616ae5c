import { CheckpointError } from '../checkpoint/errors.ts';
import { object, readVisionTower, type VisionTowerConfig } from './clip-config.ts';
import { type Json, type ModelConfig, positiveInteger, readModelConfig } from './config.ts';

/** A tower of CLIP, a projector of two layers, and a decoder that reads what comes out as tokens (Liu et al. 2023). */
export interface LlavaConfig {
  language: ModelConfig;
  vision: VisionTowerConfig;
  /** The token in whose places an image's patches stand. */
  imageToken: number;
  /** The layer whose output is taken, from 0 (before the first) to the number of layers. */
  featureLayer: number;
  /** Whether the class position is kept among the patches. */
  withClass: boolean;
  projectorBias: boolean;
}

/** What LLaVA's tower is where the configuration is silent: CLIP's large one for 336 pixels. */
const TOWER = {
  hidden_size: 1024,
  intermediate_size: 4096,
  num_hidden_layers: 24,
  num_attention_heads: 16,
  image_size: 336,
  patch_size: 14,
};

/** Reads the config.json of a LLaVA model. @throws CheckpointError that names what is wrong or not supported */
export function readLlavaConfig(json: Json): LlavaConfig {
  if (json.model_type !== 'llava')
    throw new CheckpointError(`config.json: model_type ${String(json.model_type)} is not llava`);
  const text = object(json, 'text_config');
  const tied = text.tie_word_embeddings ?? json.tie_word_embeddings;
  const language = readModelConfig({ model_type: 'llama', ...text, tie_word_embeddings: tied });
  const vision = readVisionTower(json.vision_config ? object(json, 'vision_config') : TOWER);
  const act = json.projector_hidden_act ?? 'gelu';
  if (act !== 'gelu')
    throw new CheckpointError(`config.json: projector_hidden_act ${String(act)} is not supported; gelu is`);
  const strategy = json.vision_feature_select_strategy ?? 'default';
  if (strategy !== 'default' && strategy !== 'full')
    throw new CheckpointError('config.json: vision_feature_select_strategy must be default or full');
  const token = json.image_token_index ?? json.image_token_id ?? 32_000;
  const imageToken = token === 0 ? 0 : positiveInteger({ vocab_size: token }, 'vocab_size');
  if (imageToken >= language.vocabSize)
    throw new CheckpointError(
      `config.json: image_token_index ${imageToken} is outside the vocabulary of ${language.vocabSize}`,
    );
  return {
    language,
    vision,
    imageToken,
    featureLayer: featureLayer(json.vision_feature_layer ?? -2, vision.layers),
    withClass: strategy === 'full',
    projectorBias: json.multimodal_projector_bias !== false,
  };
}

function featureLayer(value: unknown, layers: number): number {
  if (!Number.isInteger(value))
    throw new CheckpointError('config.json: vision_feature_layer must be one whole number');
  // Counted from the end over the outputs of all layers and what goes into the first.
  const layer = (value as number) < 0 ? layers + 1 + (value as number) : (value as number);
  if (layer < 0 || layer > layers)
    throw new CheckpointError(`config.json: vision_feature_layer ${value} is not among ${layers} layers`);
  return layer;
}
