import { invalidArgument } from '@landfall/common/errors/errors.ts';
import { required } from './base.ts';
import { isObject, readJsonObject, wholeNumber } from './json.ts';
import { readSafetensors, type Tensors } from './safetensors.ts';
import type { InspectedFile } from './source.ts';

const CONFIG = 'adapter_config.json';
const WEIGHTS = 'adapter_model.safetensors';
const MAX_RANK = 4096;
const LORA_FACTOR = /^(.*)\.lora_([AB])(?:\.[^.]+)?\.weight$/;

/**
 * Checks an adapter in peft's layout: adapter_config.json and adapter_model.safetensors, and for LoRA that the two
 * factors of every layer are there and meet in their rank. Throws INVALID_ARGUMENT.
 */
export async function checkAdapter(files: readonly InspectedFile[]): Promise<void> {
  const byPath = new Map(files.map((file) => [file.path, file]));
  const configFile = required(byPath, CONFIG, 'an adapter');
  const config = await readJsonObject(configFile);
  const weights = await readSafetensors(required(byPath, WEIGHTS, 'an adapter'));
  const { peft_type: type } = config;
  if (typeof type !== 'string' || !/^[A-Z0-9_]{1,64}$/.test(type)) {
    throw invalidArgument('content', `'${CONFIG}' has no peft_type such as LORA`);
  }
  if (weights.size === 0) throw invalidArgument('content', `'${WEIGHTS}' holds no tensors`);
  if (type !== 'LORA') return;
  wholeNumber(configFile, config, 'r', MAX_RANK);
  if (config.rank_pattern !== undefined && config.rank_pattern !== null && !isObject(config.rank_pattern)) {
    throw invalidArgument('content', `'${CONFIG}' has a rank_pattern that is not an object`);
  }
  checkFactors(weights);
}

function checkFactors(weights: Tensors): void {
  const ranks = new Map<string, { A?: number; B?: number }>();
  for (const [name, { shape }] of weights) {
    const match = LORA_FACTOR.exec(name);
    if (!match) continue;
    const [, layer, factor] = match as unknown as [string, string, 'A' | 'B'];
    if (shape.length !== 2)
      throw invalidArgument('content', `'${name}' has the shape [${shape}]; a factor has two axes`);
    const entry = ranks.get(layer) ?? {};
    entry[factor] = factor === 'A' ? shape[0]! : shape[1]!;
    ranks.set(layer, entry);
  }
  if (ranks.size === 0) throw invalidArgument('content', `'${WEIGHTS}' holds no lora_A and lora_B tensors`);
  for (const [layer, { A, B }] of ranks) {
    if (A === undefined || B === undefined || A !== B || A > MAX_RANK) {
      throw invalidArgument(
        'content',
        `the LoRA factors of '${layer}' don't meet: ranks ${A ?? 'none'} and ${B ?? 'none'}`,
      );
    }
  }
}
