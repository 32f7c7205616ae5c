import { add, linear } from '../autodiff/ops.ts';
import type { Tape, Tensor } from '../autodiff/tape.ts';
import { CheckpointError } from '../checkpoint/errors.ts';
import type { NamedTensor } from '../checkpoint/safetensors.ts';
import type { TowerProduct, TowerWeight } from '../models/clip.ts';
import type { ClipConfig } from '../models/clip-config.ts';
import { initialMatrix, type LoraConfig, loraNames, loraScaling, modulesNamed } from './lora.ts';

/** Modules behind the towers that can train in full beside an adapter. */
export const CLIP_PROJECTIONS = ['visual_projection', 'text_projection'] as const;

/** Linear modules of both towers' layers by their names in a CLIP model, with [outputs, inputs]. */
export function clipLinearModules({ vision, text }: ClipConfig): Map<string, [number, number]> {
  const modules = new Map<string, [number, number]>();
  for (const [prefix, tower] of [
    ['vision_model', vision],
    ['text_model', text],
  ] as const) {
    const { hiddenSize, intermediateSize } = tower;
    for (let i = 0; i < tower.layers; i++) {
      const at = `${prefix}.encoder.layers.${i}`;
      for (const name of ['q_proj', 'k_proj', 'v_proj', 'out_proj'])
        modules.set(`${at}.self_attn.${name}`, [hiddenSize, hiddenSize]);
      modules.set(`${at}.mlp.fc1`, [intermediateSize, hiddenSize]);
      modules.set(`${at}.mlp.fc2`, [hiddenSize, intermediateSize]);
    }
  }
  return modules;
}

/** Modules that get an adapter. @throws CheckpointError when a name matches nothing */
export const clipTargets = (config: ClipConfig, { targetModules }: LoraConfig) =>
  modulesNamed(clipLinearModules(config), targetModules);

/**
 * Weights that train in full beside the matrices: their names in the checkpoint, by the names of peft's model.
 * @throws CheckpointError for modules other than the projections, and for biases
 */
export function clipOwnWeights({ modulesToSave = [], bias = 'none' }: LoraConfig): Map<string, string> {
  if (bias !== 'none') throw new CheckpointError('bias: those of a CLIP do not train beside an adapter');
  return new Map(
    modulesToSave.map((module) => {
      if (!CLIP_PROJECTIONS.some((name) => name === module))
        throw new CheckpointError(
          `modules_to_save: ${module} of a CLIP does not train beside an adapter; ${CLIP_PROJECTIONS.join(' and ')} do`,
        );
      return [`base_model.model.${module}.modules_to_save.default.weight`, `${module}.weight`];
    }),
  );
}

/** Shapes of all tensors of an adapter: A [r, inputs], B [outputs, r], then the projections that train with it. */
export function clipLoraShapes(config: ClipConfig, lora: LoraConfig): Map<string, number[]> {
  const shapes = new Map<string, number[]>();
  for (const [module, [outputs, inputs]] of clipTargets(config, lora)) {
    const { a, b } = loraNames(module);
    shapes.set(a, [lora.r, inputs]);
    shapes.set(b, [outputs, lora.r]);
  }
  const { projectionSize, vision, text } = config;
  for (const [name, weight] of clipOwnWeights(lora)) {
    const { hiddenSize } = weight.startsWith('visual') ? vision : text;
    shapes.set(name, [projectionSize, hiddenSize]);
  }
  return shapes;
}

/**
 * An adapter as peft begins one: A by Kaiming's uniform rule, B zero; projections as they are.
 * @param random uniform in [0, 1)
 * @param weight a weight of the checkpoint
 */
export function initialClipLora(
  config: ClipConfig,
  lora: LoraConfig,
  random: () => number,
  weight: (name: string) => Float32Array,
): Map<string, NamedTensor> {
  const own = clipOwnWeights(lora);
  const tensors = new Map<string, NamedTensor>();
  for (const [name, shape] of clipLoraShapes(config, lora)) {
    const source = own.get(name);
    tensors.set(name, source ? { shape, data: weight(source).slice() } : initialMatrix(name, shape, random));
  }
  return tensors;
}

/** Products of both towers with scaling * B A x added where a module is targeted. */
export function clipLoraProduct(
  tape: Tape,
  config: ClipConfig,
  lora: LoraConfig,
  weight: TowerWeight,
  parameter: (name: string) => Tensor,
): TowerProduct {
  const targeted = clipTargets(config, lora);
  const scaling = loraScaling(lora);
  return (x, module, [outputs, inputs]) => {
    const y = linear(
      tape,
      x,
      weight(`${module}.weight`, [outputs, inputs]),
      weight(`${module}.bias`, [outputs]),
    );
    if (!targeted.has(module)) return y;
    const { a, b } = loraNames(module);
    const low = linear(tape, x, parameter(a));
    return add(tape, y, linear(tape, low, parameter(b), undefined, scaling));
  };
}
