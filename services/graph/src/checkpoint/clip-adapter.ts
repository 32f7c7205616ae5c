import type { ClipConfig } from '../models/clip-config.ts';
import { clipLinearModules, clipLoraShapes } from '../training/clip-lora.ts';
import { type LoraAdapter, readAdapterFolder, writeAdapterFolder } from './peft.ts';

/**
 * Writes an adapter over a CLIP as peft does for transformers' CLIPModel. The scale of the logits is no module there, so
 * peft has no place for it: vectors are the adapted model's, the scale is the merged model's.
 * @param adapter matrices, and projections where they train; other tensors are left out
 */
export function writeClipAdapter(
  folder: string,
  config: ClipConfig,
  { config: lora, tensors }: LoraAdapter,
  baseName: string,
): void {
  const names = [...clipLoraShapes(config, lora).keys()];
  const ends = [...clipLinearModules(config).keys()].map((module) =>
    module.slice(module.lastIndexOf('.') + 1),
  );
  writeAdapterFolder(
    folder,
    { config: lora, tensors: new Map(names.map((name) => [name, tensors.get(name)!])) },
    {
      baseName,
      targets: lora.targetModules.includes('all-linear') ? [...new Set(ends)] : [...lora.targetModules],
      taskType: 'FEATURE_EXTRACTION',
    },
  );
}

/** Reads an adapter over a CLIP as peft writes it. @throws CheckpointError for what does not fit the model */
export function readClipAdapter(folder: string, config: ClipConfig): LoraAdapter {
  return readAdapterFolder(folder, (lora) => clipLoraShapes(config, lora));
}
