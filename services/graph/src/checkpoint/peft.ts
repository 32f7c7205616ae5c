import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ModelConfig } from '../models/config.ts';
import { type LoraConfig, loraShapes } from '../training/lora.ts';
import { CheckpointError } from './errors.ts';
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
];

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
  const file = join(folder, 'adapter_config.json');
  writeFileSync(`${file}.tmp`, `${JSON.stringify(config, null, 2)}\n`);
  renameSync(`${file}.tmp`, file);
}

/**
 * Reads a LoRA adapter folder as peft writes it.
 * @throws CheckpointError for what is missing, does not fit the model, or asks for what is not supported, by name
 */
export function readLoraAdapter(folder: string, model: ModelConfig): LoraAdapter {
  const config = readLoraConfig(folder);
  const file = join(folder, 'adapter_model.safetensors');
  if (!existsSync(file)) throw new CheckpointError('adapter_model.safetensors is missing');
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
    tensors.set(name, { shape, data: readFloat32(file, entry) });
  }
  for (const name of entries.keys()) {
    if (!tensors.has(toModelName(name)))
      throw new CheckpointError(`adapter: tensor ${name} belongs to no target module`);
  }
  return { config, tensors };
}

function readLoraConfig(folder: string): LoraConfig {
  let json: Record<string, unknown>;
  try {
    json = JSON.parse(readFileSync(join(folder, 'adapter_config.json'), 'utf8'));
  } catch {
    throw new CheckpointError('adapter_config.json is missing or not JSON');
  }
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
  if (json.bias !== undefined && json.bias !== 'none') {
    throw new CheckpointError('adapter_config.json: only bias "none" is supported');
  }
  const { r, lora_alpha: loraAlpha, target_modules: targets } = json;
  if (!Number.isSafeInteger(r) || (r as number) < 1 || (r as number) > 4096)
    throw new CheckpointError('adapter_config.json: r must be from 1 to 4096');
  if (typeof loraAlpha !== 'number' || !Number.isFinite(loraAlpha))
    throw new CheckpointError('adapter_config.json: lora_alpha must be a number');
  const targetModules = typeof targets === 'string' ? [targets] : targets;
  if (!Array.isArray(targetModules) || !targetModules.every((t) => typeof t === 'string')) {
    throw new CheckpointError('adapter_config.json: target_modules must be a list of names');
  }
  return { r: r as number, loraAlpha, targetModules, useRslora: json.use_rslora === true };
}
