import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type ModelConfig, readModelConfig } from '../models/config.ts';
import { weightShapes } from '../models/transformer.ts';
import { type NamedTensor, writeSafetensors } from './safetensors.ts';

/** Writes config.json and model.safetensors as Hugging Face lays them out. @param config the config.json's content */
export function writeModel(
  folder: string,
  config: Record<string, unknown>,
  weights: ReadonlyMap<string, NamedTensor>,
  dtype: 'F32' | 'F16' = 'F32',
): void {
  mkdirSync(folder, { recursive: true });
  writeSafetensors(join(folder, 'model.safetensors'), weights, { dtype });
  const stored = { ...config, dtype: dtype === 'F16' ? 'float16' : 'float32' };
  writeFileSync(join(folder, 'config.json'), `${JSON.stringify(stored, null, 2)}\n`);
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
    else if (!name.endsWith('.bias')) {
      // Box and Muller 1958, two at a time.
      for (let i = 0; i < data.length; i += 2) {
        const radius = deviation * Math.sqrt(-2 * Math.log(1 - random()));
        const angle = 2 * Math.PI * random();
        data[i] = radius * Math.cos(angle);
        if (i + 1 < data.length) data[i + 1] = radius * Math.sin(angle);
      }
    }
    weights.set(name, { shape, data });
  }
  return weights;
}
