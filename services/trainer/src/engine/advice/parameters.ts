import type { ModelConfig } from '@landfall/graph/models/config.ts';
import { weightShapes } from '@landfall/graph/models/transformer.ts';
import { loraShapes } from '@landfall/graph/training/lora.ts';

/** All parameters of a model, tied weights once. */
export function totalParameters(config: ModelConfig): number {
  return elements(weightShapes(config));
}

/**
 * Parameters of a LoRA adapter: rank x (inputs + outputs) a module (Hu et al., 2021).
 *
 * @param targets names or suffixes of modules, or `all-linear`
 * @throws CheckpointError when a name matches nothing
 */
export function loraParameters(config: ModelConfig, rank: number, targets: readonly string[]): number {
  return elements(loraShapes(config, { r: rank, loraAlpha: rank, targetModules: targets, useRslora: false }));
}

function elements(shapes: ReadonlyMap<string, readonly number[]>): number {
  let sum = 0;
  for (const shape of shapes.values()) sum += shape.reduce((product, n) => product * n, 1);
  return sum;
}
