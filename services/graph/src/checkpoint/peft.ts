import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { ModelConfig } from '../models/config.ts';
import { type LoraConfig, loraShapes } from '../training/lora.ts';
import { writeJsonAtomically } from './atomic-file.ts';
import { CheckpointError } from './errors.ts';
import { readJsonObject } from './read-json.ts';
import { type NamedTensor, readFloat32, readSafetensorsHeader, writeSafetensors } from './safetensors.ts';

/** A LoRA adapter in memory, under the names of peft's own model (`...lora_A.default.weight`). */
export interface LoraAdapter {
  config: LoraConfig;
  tensors: Map<string, NamedTensor>;
}

/** The file leaves out the adapter's name that the model in memory has. */
const toFileName = (name: string) => name.replace(/\.default\.weight$/, '.weight');
const toModelName = (name: string) => name.replace(/\.weight$/, '.default.weight');

/** Options of peft that change the result and are not carried out here; each must be off. */
const UNSUPPORTED = [
  'use_dora',
  'lora_bias',
  'fan_in_fan_out',
  'modules_to_save',
  'layers_to_transform',
  'rank_pattern',
  'alpha_pattern',
  'layer_replication',
  'trainable_token_indices',
  'use_qalora',
  'use_bdlora',
  'target_parameters',
  'exclude_modules',
  'alora_invocation_tokens',
  'arrow_config',
  'kasa_config',
  'velora_config',
  'monteclora_config',
];

/** Ways to begin that leave the base as it is. The others (pissa, olora, corda, loftq, lora_ga) change its weights. */
const INITIALISATIONS: unknown[] = [undefined, null, true, false, 'gaussian', 'eva', 'orthogonal'];

/** Writes an adapter folder that peft loads: adapter_config.json and adapter_model.safetensors. */
export function writeLoraAdapter(folder: string, adapter: LoraAdapter, baseName: string): void {
  mkdirSync(folder, { recursive: true });
  const { r, loraAlpha, targetModules, useRslora } = adapter.config;
  const config = {
    base_model_name_or_path: baseName,
    bias: 'none',
    fan_in_fan_out: false,
    inference_mode: true,
    init_lora_weights: true,
    lora_alpha: loraAlpha,
    lora_dropout: 0,
    modules_to_save: null,
    peft_type: 'LORA',
    r,
    target_modules: targetModules.includes('all-linear')
      ? ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj']
      : [...targetModules],
    task_type: 'CAUSAL_LM',
    use_dora: false,
    use_rslora: useRslora,
  };
  const tensors = new Map([...adapter.tensors].map(([name, tensor]) => [toFileName(name), tensor]));
  writeSafetensors(join(folder, 'adapter_model.safetensors'), tensors);
  writeJsonAtomically(join(folder, 'adapter_config.json'), config);
}

/**
 * Reads a LoRA adapter folder as peft writes it.
 * @throws CheckpointError for what is missing, does not fit the model, or asks for what is not supported, by name
 */
export function readLoraAdapter(folder: string, model: ModelConfig): LoraAdapter {
  const config = readLoraConfig(folder);
  const file = join(folder, 'adapter_model.safetensors');
  const { tensors: entries } = readSafetensorsHeader(file);
  const tensors = new Map<string, NamedTensor>();
  for (const [name, shape] of loraShapes(model, config)) {
    const entry = entries.get(toFileName(name));
    if (!entry) throw new CheckpointError(`adapter: tensor ${toFileName(name)} is missing`);
    if (entry.shape.join() !== shape.join()) {
      throw new CheckpointError(
        `adapter: tensor ${toFileName(name)} has the shape [${entry.shape}]; the model asks for [${shape}]`,
      );
    }
    const data = readFloat32(file, entry);
    // One such value would turn every answer of the adapter into nothing.
    if (!data.every(Number.isFinite))
      throw new CheckpointError(
        `adapter: tensor ${toFileName(name)} holds a value that is not a finite number`,
      );
    tensors.set(name, { shape, data });
  }
  for (const name of entries.keys()) {
    if (!tensors.has(toModelName(name)))
      throw new CheckpointError(`adapter: tensor ${name} belongs to no target module`);
  }
  return { config, tensors };
}

function readLoraConfig(folder: string): LoraConfig {
  const json = readJsonObject(folder, 'adapter_config.json');
  if (json.peft_type !== 'LORA') {
    throw new CheckpointError(
      `adapter_config.json: peft_type ${String(json.peft_type)} is not supported; LORA is`,
    );
  }
  for (const option of UNSUPPORTED) {
    const value = json[option];
    const off = value === undefined || value === null || value === false;
    const empty = typeof value === 'object' && value !== null && Object.keys(value).length === 0;
    if (!off && !empty) throw new CheckpointError(`adapter_config.json: ${option} is not supported`);
  }
  if (!INITIALISATIONS.includes(json.init_lora_weights)) {
    throw new CheckpointError(
      "adapter_config.json: this init_lora_weights changes the base's weights and is not supported; save the adapter with peft's path_initial_model_for_weight_conversion",
    );
  }
  if (json.bias !== undefined && json.bias !== 'none') {
    throw new CheckpointError('adapter_config.json: only bias "none" is supported');
  }
  const { r, lora_alpha: loraAlpha, target_modules: targets } = json;
  if (!Number.isSafeInteger(r) || (r as number) < 1 || (r as number) > 4096)
    throw new CheckpointError('adapter_config.json: r must be from 1 to 4096');
  if (typeof loraAlpha !== 'number' || !Number.isFinite(loraAlpha))
    throw new CheckpointError('adapter_config.json: lora_alpha must be a number');
  // A text other than this one is a pattern to peft.
  const targetModules = targets === 'all-linear' ? [targets] : targets;
  if (typeof targets === 'string' && targets !== 'all-linear')
    throw new CheckpointError('adapter_config.json: a pattern as target_modules is not supported');
  if (!Array.isArray(targetModules) || !targetModules.every((t) => typeof t === 'string')) {
    throw new CheckpointError('adapter_config.json: target_modules must be a list of names');
  }
  return { r: r as number, loraAlpha, targetModules, useRslora: json.use_rslora === true };
}
