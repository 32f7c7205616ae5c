import { CheckpointError } from '../checkpoint/errors.ts';
import type { ModelConfig } from '../models/config.ts';
import { weightShapes } from '../models/transformer.ts';
import { type LoraConfig, loraOwnWeights, loraShapes } from './lora.ts';
import { type PrefixConfig, prefixShapes } from './prefix.ts';

/** Which of a model's own weights train when its lower layers are frozen. */
export interface FrozenConfig {
  /** Decoder layers that train, counted from the top. */
  trainableLayers: number;
  /** The final norm trains. */
  finalNorm: boolean;
  /** The head trains; not where it is tied to the embeddings. */
  head: boolean;
}

/** What trains, by peft's names where peft has one. */
export type TrainableSpec =
  | { method: 'lora'; lora: LoraConfig }
  /** LoRA over a base in NF4 (Dettmers et al. 2023). */
  | { method: 'qlora'; lora: LoraConfig }
  | { method: 'ptuning_v2'; prefix: PrefixConfig }
  | { method: 'frozen'; frozen: FrozenConfig }
  | { method: 'full' }
  /** Only these weights of the checkpoint. */
  | { method: 'partial'; names: readonly string[] };

/** Weights that train when the layers below are frozen. @throws CheckpointError for what the model lacks */
export function frozenNames(config: ModelConfig, frozen: FrozenConfig): string[] {
  const { trainableLayers, finalNorm, head } = frozen;
  if (trainableLayers > config.layers)
    throw new CheckpointError(`${trainableLayers} layers are to train; the model has ${config.layers}`);
  if (head && config.tieWordEmbeddings)
    throw new CheckpointError('the head is tied to the embeddings and cannot train by itself');
  const lowest = config.layers - trainableLayers;
  return [...weightShapes(config).keys()].filter((name) => {
    const layer = /^model\.layers\.(\d+)\./.exec(name)?.[1];
    if (layer !== undefined) return Number(layer) >= lowest;
    return (finalNorm && name === 'model.norm.weight') || (head && name === 'lm_head.weight');
  });
}

/** Shapes of the trainable tensors of a method, by name. @throws CheckpointError for a name that the model lacks */
export function trainableShapes(config: ModelConfig, spec: TrainableSpec): Map<string, number[]> {
  if (spec.method === 'lora' || spec.method === 'qlora') return loraShapes(config, spec.lora);
  if (spec.method === 'ptuning_v2') return prefixShapes(config, spec.prefix);
  const all = weightShapes(config);
  if (spec.method === 'full') return all;
  const names = spec.method === 'frozen' ? frozenNames(config, spec.frozen) : spec.names;
  return new Map(
    names.map((name) => {
      const shape = all.get(name);
      if (!shape) throw new CheckpointError(`the model has no weight ${name} that could be trained`);
      return [name, shape];
    }),
  );
}

const sizeOf = (shape: readonly number[]) => shape.reduce((product, n) => product * n, 1);

/** Numbers of parameters that train and of all, as peft's print_trainable_parameters counts them. */
export function parameterCounts(
  config: ModelConfig,
  spec: TrainableSpec,
): { trainable: number; total: number } {
  const shapes = trainableShapes(config, spec);
  const trainable = [...shapes.values()].reduce((sum, shape) => sum + sizeOf(shape), 0);
  let total = [...weightShapes(config).values()].reduce((sum, shape) => sum + sizeOf(shape), 0);
  if (spec.method === 'ptuning_v2') total += trainable;
  if (spec.method === 'lora' || spec.method === 'qlora') {
    const own = loraOwnWeights(config, spec.lora);
    for (const [name, shape] of shapes) {
      // A bias trains in its place; a saved module is a copy beside the original.
      if (!own.has(name) || name.includes('.modules_to_save.')) total += sizeOf(shape);
    }
  }
  return { trainable, total };
}
