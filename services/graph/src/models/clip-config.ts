import { CheckpointError } from '../checkpoint/errors.ts';
import { type Json, positive, positiveInteger } from './config.ts';

/** One of CLIP's transformers, over patches or over tokens (Radford et al. 2021). */
export interface TowerConfig {
  hiddenSize: number;
  intermediateSize: number;
  layers: number;
  heads: number;
  layerNormEps: number;
  activation: Activation;
}

export interface VisionTowerConfig extends TowerConfig {
  /** Pixels of a side. */
  imageSize: number;
  /** Pixels of a patch's side. */
  patchSize: number;
  channels: number;
}

export interface TextTowerConfig extends TowerConfig {
  vocabSize: number;
  maxPositions: number;
  endToken: number;
}

export interface ClipConfig {
  text: TextTowerConfig;
  vision: VisionTowerConfig;
  /** Size of an embedding. */
  projectionSize: number;
}

const ACTIVATIONS = ['quick_gelu', 'gelu'] as const;
export type Activation = (typeof ACTIVATIONS)[number];

/** What transformers takes where a configuration is silent. */
const VISION = {
  hidden_size: 768,
  intermediate_size: 3072,
  num_hidden_layers: 12,
  num_attention_heads: 12,
  image_size: 224,
  patch_size: 32,
};
const TEXT = { hidden_size: 512, intermediate_size: 2048, num_hidden_layers: 12, num_attention_heads: 8 };

/** Patches of an image. */
export function patchCount({ imageSize, patchSize }: VisionTowerConfig): number {
  return Math.floor(imageSize / patchSize) ** 2;
}

/** Reads the config.json of a CLIP model. @throws CheckpointError that names what is wrong or not supported */
export function readClipConfig(json: Json): ClipConfig {
  if (json.model_type !== 'clip')
    throw new CheckpointError(`config.json: model_type ${String(json.model_type)} is not clip`);
  const text = object(json, 'text_config');
  const tower = readTower({ ...TEXT, ...given(text) }, 'text_config');
  return {
    text: {
      ...tower,
      vocabSize: positiveInteger(text, 'vocab_size', 49_408),
      maxPositions: positiveInteger(text, 'max_position_embeddings', 77),
      endToken: typeof text.eos_token_id === 'number' ? text.eos_token_id : 49_407,
    },
    vision: readVisionTower(object(json, 'vision_config')),
    projectionSize: positiveInteger(json, 'projection_dim', 512),
  };
}

/** Reads the configuration of an image tower. @throws CheckpointError */
export function readVisionTower(json: Json): VisionTowerConfig {
  const type = json.model_type ?? 'clip_vision_model';
  if (type !== 'clip_vision_model')
    throw new CheckpointError(
      `config.json: the image tower ${String(type)} is not supported; clip_vision_model is`,
    );
  const values = { ...VISION, ...given(json) };
  const config = {
    ...readTower(values, 'vision_config'),
    imageSize: positiveInteger(values, 'image_size'),
    patchSize: positiveInteger(values, 'patch_size'),
    channels: positiveInteger(values, 'num_channels', 3),
  };
  if (config.patchSize > config.imageSize)
    throw new CheckpointError('config.json: vision_config.patch_size is larger than image_size');
  return config;
}

function readTower(json: Json, name: string): TowerConfig {
  const activation = ACTIVATIONS.find((one) => one === (json.hidden_act ?? 'quick_gelu'));
  if (!activation) {
    throw new CheckpointError(
      `config.json: ${name}.hidden_act ${String(json.hidden_act)} is not supported; ${ACTIVATIONS.join(', ')} are`,
    );
  }
  const hiddenSize = positiveInteger(json, 'hidden_size');
  const heads = positiveInteger(json, 'num_attention_heads');
  if (hiddenSize % heads !== 0)
    throw new CheckpointError(`config.json: ${name}.hidden_size must be a multiple of num_attention_heads`);
  return {
    hiddenSize,
    intermediateSize: positiveInteger(json, 'intermediate_size'),
    layers: positiveInteger(json, 'num_hidden_layers'),
    heads,
    layerNormEps: positive(json, 'layer_norm_eps', 1e-5),
    activation,
  };
}

/** An object within a configuration; absent it is empty. @throws CheckpointError for anything else */
export function object(json: Json, name: string): Json {
  const value = json[name] ?? {};
  if (typeof value !== 'object' || Array.isArray(value))
    throw new CheckpointError(`config.json: ${name} must be an object`);
  return value as Json;
}

/** What is not null. */
function given(json: Json): Json {
  return Object.fromEntries(
    Object.entries(json).filter(([, value]) => value !== null && value !== undefined),
  );
}
