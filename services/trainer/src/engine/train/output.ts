import { readFileSync } from 'node:fs';
import path from 'node:path';
import { type Checkpoint, loadWeights, openCheckpoint } from '@landfall/graph/checkpoint/checkpoint.ts';
import { mergeLora } from '@landfall/graph/checkpoint/merge.ts';
import { writeLoraAdapter, writePrefixAdapter } from '@landfall/graph/checkpoint/peft.ts';
import type { NamedTensor, StoredType } from '@landfall/graph/checkpoint/safetensors.ts';
import { writeModel } from '@landfall/graph/checkpoint/write-model.ts';
import type { LoraConfig } from '@landfall/graph/training/lora.ts';
import type { TrainableSpec } from '@landfall/graph/training/methods.ts';

/** What a run's result is: an adapter over its base, or a model of its own. */
export type OutputKind = 'adapter' | 'model';

/**
 * Adapters are served beside others over one base. What changes the base's own weights is a model of its own: frozen
 * layers, full fine-tuning, and LoRA that trains biases or whole modules, which is merged.
 */
export function outputKind(spec: TrainableSpec): OutputKind {
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

/**
 * Writes a run's result: an adapter in peft's layout, or a Hugging Face model in the type that its base is stored in.
 *
 * @param modelFolder of the base
 * @param baseName what an adapter's configuration names as its base
 */
export function writeOutput(
  folder: string,
  spec: TrainableSpec,
  parameters: Map<string, NamedTensor>,
  modelFolder: string,
  baseName: string,
): void {
  const checkpoint = openCheckpoint(modelFolder);
  if (outputKind(spec) === 'model') {
    writeWhole(folder, spec, parameters, checkpoint);
  } else if (spec.method === 'ptuning_v2') {
    writePrefixAdapter(folder, checkpoint.config, spec.prefix, parameters, baseName);
  } else if ('lora' in spec) {
    writeLoraAdapter(folder, { config: spec.lora, tensors: parameters }, baseName);
  }
}

function writeWhole(
  folder: string,
  spec: TrainableSpec,
  parameters: Map<string, NamedTensor>,
  checkpoint: Checkpoint,
): void {
  const weights = loadWeights(checkpoint);
  if ('lora' in spec) mergeLora(checkpoint.config, weights, { config: spec.lora, tensors: parameters });
  else for (const [name, tensor] of parameters) weights.set(name, tensor);
  const config = JSON.parse(readFileSync(path.join(checkpoint.folder, 'config.json'), 'utf8'));
  const types = new Set([...checkpoint.tensors.values()].map(({ dtype }) => dtype));
  const [only] = types;
  writeModel(folder, config, weights, types.size === 1 ? (only as StoredType) : 'F32');
}
