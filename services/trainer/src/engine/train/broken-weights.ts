import type { Checkpoint } from '@landfall/graph/checkpoint/checkpoint.ts';
import { readFloat32 } from '@landfall/graph/checkpoint/safetensors.ts';

/**
 * The first tensor of a checkpoint with a value that is not a finite number. Reads all weights, one at a time: it is
 * asked only where a first step has come to nothing.
 */
export function brokenWeight(checkpoint: Checkpoint): string | undefined {
  for (const [name, entry] of checkpoint.tensors)
    if (!readFloat32(entry.file, entry).every(Number.isFinite)) return name;
  return undefined;
}
