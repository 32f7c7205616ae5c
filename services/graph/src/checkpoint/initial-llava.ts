import type { TowerConfig } from '../models/clip-config.ts';
import type { Json } from '../models/config.ts';
import { projectorShapes, visionShapes } from '../models/llava.ts';
import { readLlavaConfig } from '../models/llava-config.ts';
import type { NamedTensor } from './safetensors.ts';
import { fillNormal, initialWeights } from './write-model.ts';

/**
 * A LLaVA to train from nothing, under the names of a Hugging Face folder (those that every version of transformers
 * reads): the decoder as `initialWeights` has it, the tower as CLIP begins, the projector's outputs about as large as
 * its inputs.
 * @param json a config.json's content
 * @param random uniform in [0, 1)
 */
export function initialLlavaWeights(json: Json, random: () => number): Map<string, NamedTensor> {
  const config = readLlavaConfig(json);
  const text = { model_type: 'llama', ...(json.text_config as Json) };
  const tied = { ...text, tie_word_embeddings: config.language.tieWordEmbeddings };
  const weights = new Map<string, NamedTensor>();
  for (const [name, tensor] of initialWeights(tied, random)) weights.set(`language_model.${name}`, tensor);
  for (const [name, shape] of projectorShapes(config))
    weights.set(
      `multi_modal_projector.${name}`,
      initialTensor(shape, shape.length === 1 ? 0 : shape[1]! ** -0.5, random),
    );
  for (const [name, shape] of visionShapes(config.vision))
    weights.set(`vision_tower.vision_model.${name}`, initialTowerTensor(config.vision, name, shape, random));
  return weights;
}

/** A weight of one of CLIP's towers as CLIP begins (Radford et al. 2021, 2.4, and its code). */
export function initialTowerTensor(
  config: TowerConfig,
  name: string,
  shape: readonly number[],
  random: () => number,
): NamedTensor {
  const width = config.hiddenSize ** -0.5;
  const deep = width * (2 * config.layers) ** -0.5;
  if (/norm\d?\.weight$/.test(name)) return { shape: [...shape], data: new Float32Array(shape[0]!).fill(1) };
  if (name.endsWith('.bias')) return initialTensor(shape, 0, random);
  if (/class_embedding$|out_proj\.weight$/.test(name)) return initialTensor(shape, width, random);
  if (/[qkv]_proj\.weight$|fc2\.weight$/.test(name)) return initialTensor(shape, deep, random);
  if (name.endsWith('fc1.weight')) return initialTensor(shape, (2 * config.hiddenSize) ** -0.5, random);
  return initialTensor(shape, 0.02, random);
}

/** Normal values, zeros for no deviation. */
export function initialTensor(
  shape: readonly number[],
  deviation: number,
  random: () => number,
): NamedTensor {
  const data = new Float32Array(shape.reduce((product, n) => product * n, 1));
  if (deviation > 0) fillNormal(data, deviation, random);
  return { shape: [...shape], data };
}
