import { type ClipConfig, readClipConfig, type VisionTowerConfig } from '../models/clip-config.ts';
import { type LlavaConfig, readLlavaConfig } from '../models/llava-config.ts';
import {
  type Checkpoint,
  float32Checkpoint,
  readTensorEntries,
  type Stored,
  type StoredTensor,
} from './checkpoint.ts';
import { readJsonObject } from './read-json.ts';

/** A CLIP model folder. */
export interface ClipCheckpoint extends Stored {
  folder: string;
  config: ClipConfig;
}

/** A LLaVA model folder in its three parts, each with its tensors under the names that it has alone. */
export interface LlavaCheckpoint {
  folder: string;
  config: LlavaConfig;
  /** The decoder, as if it stood in a folder of its own. */
  language: Checkpoint;
  /** Names such as `encoder.layers.0.layer_norm1.weight`. */
  tower: Stored & { config: VisionTowerConfig };
  /** `linear_1.weight` and so on. */
  projector: Stored;
}

/** All tensors but the numbers of positions, whole ones, that older folders keep and nothing computes with. */
function weightsIn(folder: string): Map<string, StoredTensor> {
  return new Map([...readTensorEntries(folder)].filter(([name]) => !name.endsWith('.position_ids')));
}

/** Opens a Hugging Face folder of a CLIP model; headers only. @throws CheckpointError */
export function openClip(folder: string): ClipCheckpoint {
  return {
    folder,
    config: readClipConfig(readJsonObject(folder, 'config.json')),
    tensors: weightsIn(folder),
  };
}

/**
 * Opens a Hugging Face folder of a LLaVA model; headers only. Names are those of either layout, `language_model.model.`
 * as it was and `model.language_model.` as transformers writes it since 4.52.
 * @throws CheckpointError
 */
export function openLlava(folder: string): LlavaCheckpoint {
  const config = readLlavaConfig(readJsonObject(folder, 'config.json'));
  const all = weightsIn(folder);
  const part = (pattern: RegExp, name: string) => {
    const tensors = new Map<string, StoredTensor>();
    for (const [full, entry] of all) if (pattern.test(full)) tensors.set(full.replace(pattern, name), entry);
    return tensors;
  };
  const language = new Map([
    ...part(/^(?:language_model\.model|model\.language_model)\.(?=.)/, 'model.'),
    ...part(/^(?:language_model\.)?lm_head\./, 'lm_head.'),
  ]);
  return {
    folder,
    config,
    language: { folder, config: config.language, tensors: language },
    tower: { config: config.vision, tensors: part(/^(?:model\.)?vision_tower\.(?:vision_model\.)?/, '') },
    projector: { tensors: part(/^(?:model\.)?multi_modal_projector\./, '') },
  };
}

/** The same with every weight as float32, as `float32Checkpoint` does it. */
export function float32Llava(checkpoint: LlavaCheckpoint, cacheFolder: string): LlavaCheckpoint {
  const { language, tower, projector } = checkpoint;
  return {
    ...checkpoint,
    language: float32Checkpoint(language, cacheFolder),
    tower: float32Checkpoint(tower, cacheFolder),
    projector: float32Checkpoint(projector, cacheFolder),
  };
}
