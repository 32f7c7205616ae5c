import { type Checkpoint, openCheckpoint, type Stored } from '../checkpoint/checkpoint.ts';
import { CheckpointError } from '../checkpoint/errors.ts';
import { loraMerger } from '../checkpoint/merge.ts';
import { readAdapter } from '../checkpoint/peft.ts';
import { readFloat32, type TensorSource } from '../checkpoint/safetensors.ts';
import { weightShapes } from '../models/transformer.ts';

/** A model that is exported: a checkpoint, with an adapter merged into it where one is given. */
export interface ExportModel {
  checkpoint: Checkpoint;
  /** Every weight that the configuration asks for, read and merged when it is written. */
  weights: Map<string, TensorSource>;
}

/**
 * Opens a Hugging Face model folder and, where one is given, an adapter folder of peft's over it. One weight is in
 * memory at a time beside the adapter.
 * @throws CheckpointError for what is missing, of another shape or type, or can't be merged
 */
export function openExportModel(folder: string, adapterFolder?: string): ExportModel {
  return exportModelOf(openCheckpoint(folder), adapterFolder);
}

/** The same of a checkpoint that is open. @throws CheckpointError */
export function exportModelOf(checkpoint: Checkpoint, adapterFolder?: string): ExportModel {
  const merge = adapterFolder === undefined ? undefined : adapterMerger(checkpoint, adapterFolder);
  const weights = weightsFrom(checkpoint, weightShapes(checkpoint.config), merge);
  return { checkpoint, weights };
}

/**
 * Weights by name, each read when it is written.
 * @param changed what is done to one before
 * @throws CheckpointError for one that is missing or of another shape or type
 */
export function weightsFrom(
  { tensors }: Stored,
  shapes: ReadonlyMap<string, readonly number[]>,
  changed?: (name: string, data: Float32Array) => Float32Array,
): Map<string, TensorSource> {
  const weights = new Map<string, TensorSource>();
  for (const [name, shape] of shapes) {
    const entry = tensors.get(name);
    if (!entry) throw new CheckpointError(`the checkpoint has no tensor ${name}`);
    if (entry.shape.join() !== shape.join())
      throw new CheckpointError(
        `tensor ${name} has the shape [${entry.shape}]; the configuration asks for [${shape}]`,
      );
    if (!['F32', 'F16', 'BF16'].includes(entry.dtype))
      throw new CheckpointError(`tensor ${name} is ${entry.dtype}; F32, F16 or BF16 is needed`);
    const read = () => {
      const data = readFloat32(entry.file, entry);
      return changed ? changed(name, data) : data;
    };
    weights.set(name, { shape, read });
  }
  return weights;
}

function adapterMerger({ config }: Checkpoint, folder: string) {
  const adapter = readAdapter(folder, config);
  if (adapter.kind === 'prefix')
    throw new CheckpointError(
      'the adapter is a trained prefix (P-Tuning v2): it stands before the tokens and not in the weights, so it cannot be merged; serve it beside its base, or export a LoRA adapter',
    );
  return loraMerger(config, adapter);
}

/** Number of values of a weight. */
export function sizeOf({ shape }: Pick<TensorSource, 'shape'>): number {
  return shape.reduce((product, n) => product * n, 1);
}
