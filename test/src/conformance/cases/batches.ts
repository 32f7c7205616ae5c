import { openCheckpoint } from '@landfall/graph/checkpoint/checkpoint.ts';
import { CheckpointError } from '@landfall/graph/checkpoint/errors.ts';
import {
  type NamedTensor,
  readFloat32,
  readSafetensorsHeader,
} from '@landfall/graph/checkpoint/safetensors.ts';
import { UnsupportedCase } from '../outcome.ts';

/** A padded batch as the reference cases hold it. */
export interface PaddedBatch {
  input_ids: number[][];
  labels: number[][];
  attention_mask: number[][];
}

/** The real tokens of each row. Padding must lie behind them. */
export function sequencesOf({ input_ids, labels, attention_mask }: PaddedBatch) {
  return input_ids.map((ids, row) => {
    const mask = attention_mask[row]!;
    const length = mask.lastIndexOf(1) + 1;
    if (mask.slice(0, length).includes(0)) throw new UnsupportedCase('padding before or between tokens');
    return { ids: ids.slice(0, length), labels: labels[row]!.slice(0, length) };
  });
}

/** Every tensor of a safetensors file. */
export function readTensors(file: string): Map<string, NamedTensor> {
  const entries = [...readSafetensorsHeader(file).tensors];
  return new Map(
    entries.map(([name, entry]) => [name, { shape: entry.shape, data: readFloat32(file, entry) }]),
  );
}

/** Opens a model folder; one that the library refuses by name is an unsupported case. */
export const openBase = (folder: string) => supported(() => openCheckpoint(folder));

/** What the library refuses by name is an unsupported case. */
export function supported<T>(open: () => T): T {
  try {
    return open();
  } catch (error) {
    if (error instanceof CheckpointError && error.message.includes('not supported')) {
      throw new UnsupportedCase(error.message);
    }
    throw error;
  }
}
