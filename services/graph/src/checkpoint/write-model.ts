import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { type ModelConfig, readModelConfig } from '../models/config.ts';
import { weightShapes } from '../models/transformer.ts';
import { writeJsonAtomically } from './atomic-file.ts';
import { type NamedTensor, type StoredType, writeSafetensors } from './safetensors.ts';

/** As config.json calls them. */
const DTYPE_NAMES = { F32: 'float32', F16: 'float16', BF16: 'bfloat16' } as const;

/** Writes config.json and model.safetensors as Hugging Face lays them out. @param config the config.json's content */
export function writeModel(
  folder: string,
  config: Record<string, unknown>,
  weights: ReadonlyMap<string, NamedTensor>,
  dtype: StoredType = 'F32',
): void {
  mkdirSync(folder, { recursive: true });
  writeSafetensors(join(folder, 'model.safetensors'), weights, { dtype });
  writeJsonAtomically(join(folder, 'config.json'), configJson(config, dtype));
}

/** A config.json's content with the type that its weights are stored in. */
export function configJson(config: Record<string, unknown>, dtype: StoredType): Record<string, unknown> {
  // Older configurations call it torch_dtype: the two must not disagree.
  const { torch_dtype: _, ...rest } = config;
  return { ...rest, dtype: DTYPE_NAMES[dtype] };
}

/**
 * Weights to train from: norms one, biases zero, the rest normal with the configuration's initializer_range (0.02).
 * @param random uniform in [0, 1)
 */
export function initialWeights(
  configJson: Record<string, unknown>,
  random: () => number,
): Map<string, NamedTensor> {
  const config: ModelConfig = readModelConfig(configJson);
  const deviation = typeof configJson.initializer_range === 'number' ? configJson.initializer_range : 0.02;
  const weights = new Map<string, NamedTensor>();
  for (const [name, shape] of weightShapes(config)) {
    const data = new Float32Array(shape.reduce((product, n) => product * n, 1));
    if (/norm\.weight$/.test(name)) data.fill(1);
    else if (!name.endsWith('.bias')) fillNormal(data, deviation, random);
    weights.set(name, { shape, data });
  }
  return weights;
}

/** Fills with normal values of mean 0 (Box and Muller 1958, two at a time). @param random uniform in [0, 1) */
export function fillNormal(data: Float32Array, deviation: number, random: () => number): void {
  for (let i = 0; i < data.length; i += 2) {
    const radius = deviation * Math.sqrt(-2 * Math.log(1 - random()));
    const angle = 2 * Math.PI * random();
    data[i] = radius * Math.cos(angle);
    if (i + 1 < data.length) data[i + 1] = radius * Math.sin(angle);
  }
}
