import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { ModelConfig } from '../models/config.ts';
import { type LoraBias, type LoraConfig, loraShapes } from '../training/lora.ts';
import { keyWidth, type PrefixConfig, promptEmbeddings } from '../training/prefix.ts';
import { writeJsonAtomically } from './atomic-file.ts';
import { CheckpointError } from './errors.ts';
import { readJsonObject } from './read-json.ts';
import { type NamedTensor, readFloat32, readSafetensorsHeader, writeSafetensors } from './safetensors.ts';

/** A LoRA adapter in memory, under the names of peft's own model (`...lora_A.default.weight`). */
export interface LoraAdapter {
  config: LoraConfig;
  tensors: Map<string, NamedTensor>;
}

/** Trained keys and values as peft saves them. */
export interface PrefixAdapter {
  numVirtualTokens: number;
  /** [numVirtualTokens, layers * 2 * keyValueHeads * headDim]: of each layer its keys, then its values. */
  embeddings: Float32Array;
}

/** The file leaves out the adapter's name that the model in memory has. */
const toFileName = (name: string) =>
  name.replace('.modules_to_save.default.', '.').replace(/\.default\.weight$/, '.weight');

/** peft writes the bias of a saved module thrice where biases train too: bare, of its wrapper, of what that wraps. */
const withoutWrapper = (name: string) => name.replace(/\.(modules_to_save|original_module)\.bias$/, '.bias');

/** Options of peft that change the result and are not carried out here; each must be off. */
const UNSUPPORTED = [
  'use_dora',
  'lora_bias',
  'fan_in_fan_out',
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

/** What stands before a decoder's layers in a LLaVA: since transformers 4.52, and as it was. */
const IN_LLAVA = /^(base_model\.model\.)?(?:model\.language_model|language_model\.model)\./;
/** The name that a tensor or module of a LLaVA's decoder has in a decoder alone. */
export const nameInDecoder = (name: string) => name.replace(IN_LLAVA, '$1model.');
/** The other way, as transformers has it now. */
const inLlava = (name: string) => name.replace(/^(base_model\.model\.)?model\./, '$1model.language_model.');

/**
 * Writes an adapter folder that peft loads: adapter_config.json and adapter_model.safetensors.
 * @param ofLlava the base is a LLaVA whose decoder the adapter is for: modules are named whole, since ends such as
 *   `q_proj` would be found in its tower too
 */
export function writeLoraAdapter(
  folder: string,
  adapter: LoraAdapter,
  baseName: string,
  ofLlava = false,
): void {
  const { targetModules } = adapter.config;
  const targets = targetModules.includes('all-linear')
    ? ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj']
    : [...targetModules];
  writeAdapterFolder(folder, adapter, {
    baseName,
    targets: ofLlava ? adaptedModules(adapter).map(inLlava) : targets,
    taskType: 'CAUSAL_LM',
    rename: ofLlava ? inLlava : (name) => name,
  });
}

/** Writes an adapter folder of whatever model. @param rename to the names that the model's own module has */
export function writeAdapterFolder(
  folder: string,
  adapter: LoraAdapter,
  {
    baseName,
    targets,
    taskType,
    rename = (name) => name,
  }: { baseName: string; targets: string[]; taskType: string; rename?: (name: string) => string },
): void {
  mkdirSync(folder, { recursive: true });
  const { r, loraAlpha, useRslora, loraDropout = 0, bias = 'none', modulesToSave = [] } = adapter.config;
  const config = {
    base_model_name_or_path: baseName,
    bias,
    fan_in_fan_out: false,
    inference_mode: true,
    init_lora_weights: true,
    lora_alpha: loraAlpha,
    lora_dropout: loraDropout,
    modules_to_save: modulesToSave.length > 0 ? [...modulesToSave] : null,
    peft_type: 'LORA',
    r,
    target_modules: targets,
    task_type: taskType,
    use_dora: false,
    use_rslora: useRslora,
  };
  const tensors = new Map([...adapter.tensors].map(([name, tensor]) => [toFileName(rename(name)), tensor]));
  writeSafetensors(join(folder, 'adapter_model.safetensors'), tensors);
  writeJsonAtomically(join(folder, 'adapter_config.json'), config);
}

/** Modules that an adapter has matrices for, sorted: tensors that come from a file stand in another order. */
function adaptedModules({ tensors }: LoraAdapter): string[] {
  const modules = [...tensors.keys()].flatMap(
    (name) => /^base_model\.model\.(.*)\.lora_A\./.exec(name)?.[1] ?? [],
  );
  return modules.sort();
}

/**
 * Reads a LoRA adapter folder as peft writes it, for a decoder or for that of a LLaVA.
 * @throws CheckpointError for what is missing, does not fit the model, or asks for what is not supported, by name
 */
export function readLoraAdapter(folder: string, model: ModelConfig): LoraAdapter {
  return readAdapterFolder(folder, (config) => loraShapes(model, config), nameInDecoder);
}

/**
 * Reads a LoRA adapter folder of whatever model.
 * @param shapesOf what the model asks for, by the names of peft's own model
 * @param rename to those names
 * @throws CheckpointError
 */
export function readAdapterFolder(
  folder: string,
  shapesOf: (config: LoraConfig) => ReadonlyMap<string, number[]>,
  rename = (name: string) => name,
): LoraAdapter {
  const config = readLoraConfig(folder);
  const file = join(folder, 'adapter_model.safetensors');
  const { tensors: stored } = readSafetensorsHeader(file);
  const entries = new Map([...stored].map(([name, entry]) => [rename(name), entry]));
  const tensors = new Map<string, NamedTensor>();
  for (const [name, shape] of shapesOf(config)) {
    const entry = entries.get(toFileName(name));
    if (!entry) throw new CheckpointError(`adapter: tensor ${toFileName(name)} is missing`);
    if (entry.shape.join() !== shape.join()) {
      throw new CheckpointError(
        `adapter: tensor ${toFileName(name)} has the shape [${entry.shape}]; the model asks for [${shape}]`,
      );
    }
    const data = readFloat32(file, entry);
    // One such value would turn every answer of the adapter into nothing.
    if (!allFinite(data))
      throw new CheckpointError(
        `adapter: tensor ${toFileName(name)} holds a value that is not a finite number`,
      );
    tensors.set(name, { shape, data });
  }
  const known = new Set([...tensors.keys()].map(toFileName));
  for (const name of entries.keys()) {
    if (!known.has(name) && !known.has(withoutWrapper(name)))
      throw new CheckpointError(`adapter: tensor ${name} belongs to no target module`);
  }
  return { config, tensors };
}

/** A plain loop: an adapter of millions of values is waited for. */
function allFinite(values: Float32Array): boolean {
  for (let i = 0; i < values.length; i++) if (!Number.isFinite(values[i]!)) return false;
  return true;
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
  const bias = json.bias ?? 'none';
  if (bias !== 'none' && bias !== 'all' && bias !== 'lora_only')
    throw new CheckpointError('adapter_config.json: bias must be none, all or lora_only');
  const saved = json.modules_to_save ?? [];
  if (!Array.isArray(saved) || !saved.every((name) => typeof name === 'string'))
    throw new CheckpointError('adapter_config.json: modules_to_save must be a list of names');
  const dropout = json.lora_dropout ?? 0;
  if (typeof dropout !== 'number' || !(dropout >= 0 && dropout < 1))
    throw new CheckpointError('adapter_config.json: lora_dropout must be from 0 to below 1');
  const { r, lora_alpha: loraAlpha, target_modules: targets } = json;
  if (!Number.isSafeInteger(r) || (r as number) < 1 || (r as number) > 4096)
    throw new CheckpointError('adapter_config.json: r must be from 1 to 4096');
  if (typeof loraAlpha !== 'number' || !Number.isFinite(loraAlpha))
    throw new CheckpointError('adapter_config.json: lora_alpha must be a number');
  // A text other than this one is a pattern to peft.
  const named = targets === 'all-linear' ? [targets] : targets;
  if (typeof targets === 'string' && targets !== 'all-linear')
    throw new CheckpointError('adapter_config.json: a pattern as target_modules is not supported');
  if (!Array.isArray(named) || !named.every((t) => typeof t === 'string')) {
    throw new CheckpointError('adapter_config.json: target_modules must be a list of names');
  }
  const targetModules = named.map(nameInDecoder);
  return {
    r: r as number,
    loraAlpha,
    targetModules,
    useRslora: json.use_rslora === true,
    loraDropout: dropout,
    bias: bias as LoraBias,
    modulesToSave: saved,
  };
}

/** Writes a prefix as peft does: a projection is carried out once and for all, its layers are not kept. */
export function writePrefixAdapter(
  folder: string,
  model: ModelConfig,
  prefix: PrefixConfig,
  tensors: ReadonlyMap<string, NamedTensor>,
  baseName: string,
): void {
  mkdirSync(folder, { recursive: true });
  const embeddings = promptEmbeddings(model, prefix, tensors);
  writeSafetensors(join(folder, 'adapter_model.safetensors'), new Map([['prompt_embeddings', embeddings]]));
  writeJsonAtomically(join(folder, 'adapter_config.json'), {
    base_model_name_or_path: baseName,
    encoder_hidden_size: prefix.encoderHiddenSize || keyWidth(model),
    inference_mode: true,
    num_attention_heads: model.keyValueHeads,
    num_layers: model.layers,
    num_transformer_submodules: 1,
    num_virtual_tokens: prefix.numVirtualTokens,
    peft_type: 'PREFIX_TUNING',
    prefix_projection: prefix.prefixProjection,
    task_type: 'CAUSAL_LM',
    token_dim: keyWidth(model),
  });
}

/**
 * Reads a prefix folder as peft writes it.
 * @throws CheckpointError for what is missing or does not fit the model
 */
export function readPrefixAdapter(folder: string, model: ModelConfig): PrefixAdapter {
  const json = readJsonObject(folder, 'adapter_config.json');
  if (json.peft_type !== 'PREFIX_TUNING')
    throw new CheckpointError(
      `adapter_config.json: peft_type ${String(json.peft_type)} is not supported; LORA and PREFIX_TUNING are`,
    );
  const tokens = json.num_virtual_tokens;
  if (!Number.isSafeInteger(tokens) || (tokens as number) < 1 || (tokens as number) > model.maxPositions)
    throw new CheckpointError(
      `adapter_config.json: num_virtual_tokens must be from 1 to the model's ${model.maxPositions} positions`,
    );
  const file = join(folder, 'adapter_model.safetensors');
  const entry = readSafetensorsHeader(file).tensors.get('prompt_embeddings');
  if (!entry) throw new CheckpointError('adapter: tensor prompt_embeddings is missing');
  const shape = [tokens, model.layers * 2 * keyWidth(model)];
  if (entry.shape.join() !== shape.join())
    throw new CheckpointError(
      `adapter: tensor prompt_embeddings has the shape [${entry.shape}]; the model asks for [${shape}]`,
    );
  const embeddings = readFloat32(file, entry);
  if (!allFinite(embeddings))
    throw new CheckpointError('adapter: tensor prompt_embeddings holds a value that is not a finite number');
  return { numVirtualTokens: tokens as number, embeddings };
}

/** An adapter of either kind. */
export type Adapter = ({ kind: 'lora' } & LoraAdapter) | ({ kind: 'prefix' } & PrefixAdapter);

/** Reads an adapter folder, whichever of LoRA and prefix it holds. @throws CheckpointError */
export function readAdapter(folder: string, model: ModelConfig): Adapter {
  const { peft_type: type } = readJsonObject(folder, 'adapter_config.json');
  if (type === 'LORA') return { kind: 'lora', ...readLoraAdapter(folder, model) };
  return { kind: 'prefix', ...readPrefixAdapter(folder, model) };
}
