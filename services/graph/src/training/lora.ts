import { add, dropout, linear } from '../autodiff/ops.ts';
import type { Tape, Tensor } from '../autodiff/tape.ts';
import { CheckpointError } from '../checkpoint/errors.ts';
import type { NamedTensor } from '../checkpoint/safetensors.ts';
import type { ModelConfig } from '../models/config.ts';
import { linearModules, weightShapes } from '../models/transformer.ts';
import type { Value } from '../onnx/graph.ts';

/** Biases that train with an adapter; peft's `bias`. */
export type LoraBias = 'none' | 'all' | 'lora_only';

/** peft's LoraConfig, as far as it shapes the mathematics (Hu et al. 2021; rsLoRA: Kalajdzievski 2023). */
export interface LoraConfig {
  r: number;
  loraAlpha: number;
  /** Names or suffixes of modules, or `all-linear`. */
  targetModules: readonly string[];
  useRslora: boolean;
  /** Chance that an input of an adapter is dropped while training; 0 without. */
  loraDropout?: number;
  /** `none` without. */
  bias?: LoraBias;
  /** Ends of names of modules that train in full and are saved with the adapter. */
  modulesToSave?: readonly string[];
}

/** Factor on the adapter's output. */
export function loraScaling({ r, loraAlpha, useRslora }: LoraConfig): number {
  return useRslora ? loraAlpha / Math.sqrt(r) : loraAlpha / r;
}

const matches = (module: string, target: string) => module === target || module.endsWith(`.${target}`);

/**
 * Modules that get an adapter, with [outputs, inputs].
 * @throws CheckpointError when a name matches nothing
 */
export function targetedModules(
  config: ModelConfig,
  targets: readonly string[],
): Map<string, [number, number]> {
  return modulesNamed(linearModules(config), targets);
}

/** Those of a model's linear modules that are named, whole or by their ends. @throws CheckpointError */
export function modulesNamed(
  all: Map<string, [number, number]>,
  targets: readonly string[],
): Map<string, [number, number]> {
  if (targets.includes('all-linear')) return all;
  for (const target of targets) {
    if (![...all.keys()].some((module) => matches(module, target))) {
      const ends = new Set([...all.keys()].map((module) => module.slice(module.lastIndexOf('.') + 1)));
      throw new CheckpointError(
        `target module ${target} is not in the model; its linear modules end in ${[...ends].join(', ')}`,
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

/**
 * The model's own weights that train beside the matrices: their names in the checkpoint, by the names of peft's model.
 * @throws CheckpointError for a module that is not there, or whose weight is tied to another
 */
export function loraOwnWeights(config: ModelConfig, lora: LoraConfig): Map<string, string> {
  const targeted = targetedModules(config, lora.targetModules);
  const weights = [...weightShapes(config).keys()];
  const own = new Map<string, string>();
  const saved = new Set<string>();
  for (const target of lora.modulesToSave ?? []) {
    // peft takes any end of a module's name here, not whole parts of it: `norm` is `input_layernorm` too.
    const found = weights.filter((name) => name.replace(/\.(weight|bias)$/, '').endsWith(target));
    if (config.tieWordEmbeddings && target !== '' && 'lm_head'.endsWith(target))
      throw new CheckpointError(
        `modules_to_save: the head is tied to the embeddings in this model and can't train alone`,
      );
    if (found.length === 0) throw new CheckpointError(`modules_to_save: ${target} is not in the model`);
    for (const name of found) {
      if (config.tieWordEmbeddings && name === 'model.embed_tokens.weight')
        throw new CheckpointError(
          `modules_to_save: ${target} is tied to the head in this model and can't train alone`,
        );
      const [, module, kind] = /^(.*)\.(weight|bias)$/.exec(name)!;
      if (targeted.has(module!))
        throw new CheckpointError(`modules_to_save: ${target} already has an adapter; name it once`);
      own.set(`base_model.model.${module}.modules_to_save.default.${kind}`, name);
      saved.add(name);
    }
  }
  const { bias = 'none' } = lora;
  if (bias === 'none') return own;
  for (const name of weights) {
    const module = /^(.*)\.bias$/.exec(name)?.[1];
    if (!module || saved.has(name)) continue;
    if (targeted.has(module)) own.set(`base_model.model.${module}.base_layer.bias`, name);
    else if (bias === 'all') own.set(`base_model.model.${name}`, name);
  }
  return own;
}

/** Shapes of all tensors of an adapter: A [r, inputs], B [outputs, r], then the model's own that train with it. */
export function loraShapes(config: ModelConfig, lora: LoraConfig): Map<string, number[]> {
  const shapes = new Map<string, number[]>();
  for (const [module, [outputs, inputs]] of targetedModules(config, lora.targetModules)) {
    const { a, b } = loraNames(module);
    shapes.set(a, [lora.r, inputs]);
    shapes.set(b, [outputs, lora.r]);
  }
  const all = weightShapes(config);
  for (const [name, weight] of loraOwnWeights(config, lora)) shapes.set(name, all.get(weight)!);
  return shapes;
}

/**
 * A by Kaiming's uniform rule with a = sqrt(5), B zero, as peft begins; the model's own weights as they are.
 * @param random uniform in [0, 1)
 * @param weight a weight of the checkpoint; needed where biases or whole modules train
 */
export function initialLora(
  config: ModelConfig,
  lora: LoraConfig,
  random: () => number,
  weight?: (name: string) => Float32Array,
): Map<string, NamedTensor> {
  const own = loraOwnWeights(config, lora);
  const tensors = new Map<string, NamedTensor>();
  for (const [name, shape] of loraShapes(config, lora)) {
    const source = own.get(name);
    if (source !== undefined) {
      if (!weight) throw new CheckpointError(`${source} trains with the adapter: its values are needed`);
      tensors.set(name, { shape, data: weight(source).slice() });
      continue;
    }
    tensors.set(name, initialMatrix(name, shape, random));
  }
  return tensors;
}

/** A matrix of a fresh adapter by its name. @param shape [rows, columns] @param random uniform in [0, 1) */
export function initialMatrix(name: string, shape: number[], random: () => number): NamedTensor {
  const data = new Float32Array(shape[0]! * shape[1]!);
  const bound = 1 / Math.sqrt(shape[1]!);
  if (name.includes('.lora_A.')) for (let i = 0; i < data.length; i++) data[i] = (2 * random() - 1) * bound;
  return { shape, data };
}

/**
 * Adds scaling * B A x to the outputs of targeted modules.
 * @param dropped by module: which inputs are kept [N, inputs], bool, and the factor on them [1]; absent without dropout
 */
export function loraAdapter(
  tape: Tape,
  config: ModelConfig,
  lora: LoraConfig,
  parameter: (name: string) => Tensor,
  dropped?: (module: string, inputs: number) => { kept: Value; factor: Value },
): (module: string, x: Tensor, y: Tensor) => Tensor {
  const targeted = targetedModules(config, lora.targetModules);
  const scaling = loraScaling(lora);
  return (module, x, y) => {
    const size = targeted.get(module);
    if (!size) return y;
    const { a, b } = loraNames(module);
    const drop = dropped?.(module, size[1]);
    const input = drop ? dropout(tape, x, drop.kept, drop.factor) : x;
    const low = linear(tape, input, parameter(a));
    return add(tape, y, linear(tape, low, parameter(b), undefined, scaling));
  };
}
