import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { writeJsonAtomically } from '@landfall/graph/checkpoint/atomic-file.ts';
import type { Stored } from '@landfall/graph/checkpoint/checkpoint.ts';
import { writeClipAdapter } from '@landfall/graph/checkpoint/clip-adapter.ts';
import { writeLoraAdapter, writePrefixAdapter } from '@landfall/graph/checkpoint/peft.ts';
import { readJsonObject } from '@landfall/graph/checkpoint/read-json.ts';
import {
  type NamedTensor,
  type StoredType,
  type TensorSource,
  writeSafetensorsFrom,
} from '@landfall/graph/checkpoint/safetensors.ts';
import { trainedClip } from '@landfall/graph/checkpoint/trained-clip.ts';
import { trainedDecoder, trainedLlava } from '@landfall/graph/checkpoint/trained-llava.ts';
import { openClip } from '@landfall/graph/checkpoint/vision.ts';
import { configJson } from '@landfall/graph/checkpoint/write-model.ts';
import type { LoraConfig } from '@landfall/graph/training/lora.ts';
import type { TrainableSpec } from '@landfall/graph/training/methods.ts';
import type { SightSpec } from '@landfall/graph/training/sight.ts';
import { type Base, openBase } from './base.ts';
import type { AlignmentSpec, RunSpec, TrainingTask } from './task.ts';

/** What a run's result is: an adapter over its base, or a model of its own. */
export type OutputKind = 'adapter' | 'model';

/**
 * Adapters are served beside others over one base. What changes the base's own weights is a model of its own: frozen
 * layers, full fine-tuning, and LoRA that trains biases, whole modules, or what a model sees with, which is merged.
 */
export function outputKind(spec: RunSpec, sight?: SightSpec): OutputKind {
  // Vectors come of whole models: an adapter of a CLIP is merged, and written beside them.
  if (spec.method === 'align') return 'model';
  if (sight && (sight.projector || sight.towerLayers !== 0)) return 'model';
  if (spec.method === 'ptuning_v2') return 'adapter';
  if (spec.method === 'lora' || spec.method === 'qlora') return changesBase(spec.lora) ? 'model' : 'adapter';
  return 'model';
}

const changesBase = ({ bias, modulesToSave }: LoraConfig) =>
  (bias !== undefined && bias !== 'none') || (modulesToSave?.length ?? 0) > 0;

/** The file that is written last: where it is, the result is whole. */
export const LAST_FILE: Record<OutputKind, string> = { adapter: 'adapter_config.json', model: 'config.json' };

/** Files of a result. */
export const OUTPUT_FILES: Record<OutputKind, readonly string[]> = {
  adapter: ['adapter_config.json', 'adapter_model.safetensors'],
  model: ['config.json', 'model.safetensors'],
};

/** Where a model's own adapter lies beside it, in peft's layout. */
export const ADAPTER_FOLDER = 'adapter';

/** Files of a run's result. */
export function outputFiles(spec: RunSpec, sight?: SightSpec): string[] {
  const files = [...OUTPUT_FILES[outputKind(spec, sight)]];
  if (spec.method === 'align' && 'lora' in spec.clip)
    files.push(...OUTPUT_FILES.adapter.map((file) => `${ADAPTER_FOLDER}/${file}`));
  return files;
}

/**
 * Writes a run's result: an adapter in peft's layout, or a Hugging Face model in the type that its base is stored in.
 *
 * @param baseName what an adapter's configuration names as its base
 */
export function writeOutput(
  folder: string,
  { spec, sight, modelFolder }: Pick<TrainingTask, 'spec' | 'sight' | 'modelFolder'>,
  parameters: Map<string, NamedTensor>,
  baseName: string,
): void {
  if (spec.method === 'align') {
    writeAligned(folder, spec, modelFolder, parameters, baseName);
    return;
  }
  const base = openBase(modelFolder);
  if (outputKind(spec, sight) === 'model') {
    writeWhole(folder, spec, parameters, base);
  } else if (spec.method === 'ptuning_v2') {
    writePrefixAdapter(folder, base.language.config, spec.prefix, parameters, baseName);
  } else if ('lora' in spec) {
    const adapter = { config: spec.lora, tensors: parameters };
    writeLoraAdapter(folder, adapter, baseName, base.llava !== undefined);
  }
}

function writeWhole(
  folder: string,
  spec: TrainableSpec,
  parameters: Map<string, NamedTensor>,
  { language, llava }: Base,
): void {
  const adapter = 'lora' in spec ? { config: spec.lora, tensors: parameters } : undefined;
  const sources = llava
    ? trainedLlava(llava, parameters, adapter)
    : trainedDecoder(language, parameters, adapter);
  const stored = llava ? [llava.language, llava.tower, llava.projector] : [language];
  writeLike(folder, language.folder, stored, sources);
}

/** A CLIP with what trained in it; an adapter's own tensors beside it. */
function writeAligned(
  folder: string,
  { clip: spec }: AlignmentSpec,
  modelFolder: string,
  parameters: Map<string, NamedTensor>,
  baseName: string,
): void {
  const clip = openClip(modelFolder);
  const lora = 'lora' in spec ? spec.lora : undefined;
  if (lora) {
    const adapter = { config: lora, tensors: parameters };
    writeClipAdapter(path.join(folder, ADAPTER_FOLDER), clip.config, adapter, baseName);
  }
  writeLike(folder, modelFolder, [clip], trainedClip(clip, parameters, lora));
}

/** Writes weights in the type that the base's are stored in, and its configuration last. */
function writeLike(
  folder: string,
  baseFolder: string,
  stored: readonly Stored[],
  sources: Map<string, TensorSource>,
): void {
  const types = new Set(stored.flatMap(({ tensors }) => [...tensors.values()].map(({ dtype }) => dtype)));
  const [only] = types;
  const dtype = types.size === 1 ? (only as StoredType) : 'F32';
  mkdirSync(folder, { recursive: true });
  writeSafetensorsFrom(path.join(folder, 'model.safetensors'), sources, { dtype });
  const config = readJsonObject(baseFolder, 'config.json');
  writeJsonAtomically(path.join(folder, 'config.json'), configJson(config, dtype));
}
