import type { ModelConfig } from '../models/config.ts';
import { loraNames, loraOwnWeights, loraScaling, targetedModules } from '../training/lora.ts';
import type { LoraAdapter } from './peft.ts';
import type { NamedTensor } from './safetensors.ts';

/**
 * What an adapter makes of one weight of its base: W + scaling * B A where its module is targeted, the adapter's own
 * tensor where the weight trained with it, otherwise the weight itself.
 * @returns a function of a weight's name and values; a targeted weight is changed in place
 */
export function loraMerger(
  config: ModelConfig,
  adapter: LoraAdapter,
): (name: string, data: Float32Array) => Float32Array {
  const targeted = targetedModules(config, adapter.config.targetModules);
  const own = new Map([...loraOwnWeights(config, adapter.config)].map(([name, weight]) => [weight, name]));
  return (weight, data) => {
    const replaced = own.get(weight);
    if (replaced !== undefined) return adapter.tensors.get(replaced)!.data;
    const module = weight.replace(/\.weight$/, '');
    const size = module === weight ? undefined : targeted.get(module);
    if (!size) return data;
    return addAdapter(data, adapter, module, size);
  };
}

/** W + scaling * B A of a module, in place. @param data W, [outputs, inputs] */
export function addAdapter(
  data: Float32Array,
  { config, tensors }: LoraAdapter,
  module: string,
  [outputs, inputs]: readonly [number, number],
): Float32Array {
  const { r } = config;
  const scaling = loraScaling(config);
  const names = loraNames(module);
  const a = tensors.get(names.a)!.data;
  const b = tensors.get(names.b)!.data;
  for (let o = 0; o < outputs; o++) {
    for (let k = 0; k < r; k++) {
      const factor = scaling * b[o * r + k]!;
      for (let i = 0; i < inputs; i++) data[o * inputs + i]! += factor * a[k * inputs + i]!;
    }
  }
  return data;
}

/** Merges an adapter into all weights of its base, in place. */
export function mergeLora(
  config: ModelConfig,
  weights: Map<string, NamedTensor>,
  adapter: LoraAdapter,
): void {
  const merge = loraMerger(config, adapter);
  for (const [name, { shape, data }] of weights) weights.set(name, { shape, data: merge(name, data) });
}
