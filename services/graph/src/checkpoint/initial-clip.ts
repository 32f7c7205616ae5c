import { readClipConfig } from '../models/clip-config.ts';
import type { Json } from '../models/config.ts';
import { clipShapes } from '../training/clip-spec.ts';
import { initialTensor, initialTowerTensor } from './initial-llava.ts';
import type { NamedTensor } from './safetensors.ts';

/** A CLIP to train from nothing, as CLIP begins: the scale of its logits is 1 / 0.07. @param json a config.json's content */
export function initialClipWeights(json: Json, random: () => number): Map<string, NamedTensor> {
  const config = readClipConfig(json);
  const weights = new Map<string, NamedTensor>();
  for (const [name, shape] of clipShapes(config)) {
    const tower = name.startsWith('vision') ? config.vision : config.text;
    weights.set(
      name,
      name === 'logit_scale'
        ? { shape: [], data: Float32Array.of(Math.log(1 / 0.07)) }
        : /projection\.weight$/.test(name)
          ? initialTensor(shape, tower.hiddenSize ** -0.5, random)
          : initialTowerTensor(tower, name, shape, random),
    );
  }
  return weights;
}
