import type { Stored } from '@landfall/graph/checkpoint/checkpoint.ts';
import { readFloat32 } from '@landfall/graph/checkpoint/safetensors.ts';
import { TrainingError } from './errors.ts';

/**
 * The first tensor of a checkpoint with a value that is not a finite number. Reads all weights, one at a time: it is
 * asked only where a first step has come to nothing.
 */
export function brokenWeight(checkpoint: Stored): string | undefined {
  for (const [name, entry] of checkpoint.tensors)
    if (!readFloat32(entry.file, entry).every(Number.isFinite)) return name;
  return undefined;
}

/** Why no run over these parts of a base can come to anything; undefined where they are sound. */
export function brokenBase(parts: readonly Stored[]): TrainingError | undefined {
  const name = parts.map(brokenWeight).find((found) => found !== undefined);
  if (name === undefined) return undefined;
  const why = `the base can't be trained: tensor ${name} holds a value that is not a finite number`;
  return new TrainingError('model', why);
}
