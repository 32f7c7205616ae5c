import type { ModelConfig } from '../models/config.ts';
import { loraNames, loraOwnWeights, loraScaling, targetedModules } from '../training/lora.ts';
import type { LoraAdapter } from './peft.ts';
import type { NamedTensor } from './safetensors.ts';

/** W + scaling * B A for every targeted module, and the weights that trained with the adapter, in place. */
export function mergeLora(
  config: ModelConfig,
  weights: Map<string, NamedTensor>,
  adapter: LoraAdapter,
): void {
  const scaling = loraScaling(adapter.config);
  const { r } = adapter.config;
  for (const [module, [outputs, inputs]] of targetedModules(config, adapter.config.targetModules)) {
    const names = loraNames(module);
    const a = adapter.tensors.get(names.a)!.data;
    const b = adapter.tensors.get(names.b)!.data;
    const { data } = weights.get(`${module}.weight`)!;
    for (let o = 0; o < outputs; o++) {
      for (let k = 0; k < r; k++) {
        const factor = scaling * b[o * r + k]!;
        for (let i = 0; i < inputs; i++) data[o * inputs + i]! += factor * a[k * inputs + i]!;
      }
    }
  }
  for (const [name, weight] of loraOwnWeights(config, adapter.config)) {
    weights.set(weight, adapter.tensors.get(name)!);
  }
}
