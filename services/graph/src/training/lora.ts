import { add, linear } from '../autodiff/ops.ts';
import type { Tape, Tensor } from '../autodiff/tape.ts';
import { CheckpointError } from '../checkpoint/errors.ts';
import type { NamedTensor } from '../checkpoint/safetensors.ts';
import type { ModelConfig } from '../models/config.ts';
import { linearModules } from '../models/transformer.ts';

/** peft's LoraConfig, as far as it shapes the mathematics (Hu et al. 2021; rsLoRA: Kalajdzievski 2023). */
export interface LoraConfig {
  r: number;
  loraAlpha: number;
  /** Names or suffixes of modules, or `all-linear`. */
  targetModules: readonly string[];
  useRslora: boolean;
}

/** Factor on the adapter's output. */
export function loraScaling({ r, loraAlpha, useRslora }: LoraConfig): number {
  return useRslora ? loraAlpha / Math.sqrt(r) : loraAlpha / r;
}

/**
 * Modules that get an adapter, with [outputs, inputs].
 * @throws CheckpointError when a name matches nothing
 */
export function targetedModules(
  config: ModelConfig,
  targets: readonly string[],
): Map<string, [number, number]> {
  const all = linearModules(config);
  if (targets.includes('all-linear')) return all;
  const matches = (module: string, target: string) => module === target || module.endsWith(`.${target}`);
  for (const target of targets) {
    if (![...all.keys()].some((module) => matches(module, target))) {
      throw new CheckpointError(
        `target module ${target} is not in the model; its linear modules end in q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj`,
      );
    }
  }
  return new Map([...all].filter(([module]) => targets.some((target) => matches(module, target))));
}

/** Names of an adapter's two matrices as peft's own model has them. */
export function loraNames(module: string): { a: string; b: string } {
  const at = `base_model.model.${module}`;
  return { a: `${at}.lora_A.default.weight`, b: `${at}.lora_B.default.weight` };
}

/** Shapes of all adapter tensors: A [r, inputs], B [outputs, r]. */
export function loraShapes(config: ModelConfig, lora: LoraConfig): Map<string, number[]> {
  const shapes = new Map<string, number[]>();
  for (const [module, [outputs, inputs]] of targetedModules(config, lora.targetModules)) {
    const { a, b } = loraNames(module);
    shapes.set(a, [lora.r, inputs]);
    shapes.set(b, [outputs, lora.r]);
  }
  return shapes;
}

/** A by Kaiming's uniform rule with a = sqrt(5), B zero, as peft begins. @param random uniform in [0, 1) */
export function initialLora(
  config: ModelConfig,
  lora: LoraConfig,
  random: () => number,
): Map<string, NamedTensor> {
  const tensors = new Map<string, NamedTensor>();
  for (const [name, shape] of loraShapes(config, lora)) {
    const data = new Float32Array(shape[0]! * shape[1]!);
    const bound = 1 / Math.sqrt(shape[1]!);
    if (name.includes('.lora_A.')) for (let i = 0; i < data.length; i++) data[i] = (2 * random() - 1) * bound;
    tensors.set(name, { shape, data });
  }
  return tensors;
}

/** Adds scaling * B A x to the outputs of targeted modules. */
export function loraAdapter(
  tape: Tape,
  config: ModelConfig,
  lora: LoraConfig,
  parameter: (name: string) => Tensor,
): (module: string, x: Tensor, y: Tensor) => Tensor {
  const targeted = targetedModules(config, lora.targetModules);
  const scaling = loraScaling(lora);
  return (module, x, y) => {
    if (!targeted.has(module)) return y;
    const { a, b } = loraNames(module);
    const low = linear(tape, x, parameter(a));
    return add(tape, y, linear(tape, low, parameter(b), undefined, scaling));
  };
}
