import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { type ModelConfig, readModelConfig } from '../models/config.ts';
import { CheckpointError } from './errors.ts';
import { readJsonObject } from './read-json.ts';
import {
  type NamedTensor,
  readFloat32,
  readSafetensorsHeader,
  type StoredType,
  type TensorEntry,
  writeSafetensorsFrom,
} from './safetensors.ts';

/** A tensor of a checkpoint and the file that it lies in. */
export interface StoredTensor extends TensorEntry {
  file: string;
}

/** A Hugging Face model folder: its configuration, and where each weight lies. */
export interface Checkpoint {
  folder: string;
  config: ModelConfig;
  tensors: ReadonlyMap<string, StoredTensor>;
}

const SHARD_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]*\.safetensors$/;

/**
 * Opens a folder with config.json and model.safetensors, or model.safetensors.index.json and its shards. Reads
 * headers only; weights stay in their files.
 * @throws CheckpointError for what is missing, lying or not supported, by name.
 */
export function openCheckpoint(folder: string): Checkpoint {
  const config = readModelConfig(readJsonObject(folder, 'config.json'));
  return { folder, config, tensors: readTensorEntries(folder) };
}

/** Every tensor of a model folder by name, in one file or in shards. @throws CheckpointError */
export function readTensorEntries(folder: string): Map<string, StoredTensor> {
  const tensors = new Map<string, StoredTensor>();
  for (const name of weightFiles(folder)) {
    const file = join(folder, name);
    for (const [tensor, entry] of readSafetensorsHeader(file).tensors) {
      if (tensors.has(tensor)) throw new CheckpointError(`tensor ${tensor} is in two files`);
      tensors.set(tensor, { ...entry, file });
    }
  }
  return tensors;
}

function weightFiles(folder: string): string[] {
  const index = 'model.safetensors.index.json';
  if (!existsSync(join(folder, index))) return ['model.safetensors'];
  const { weight_map: map } = readJsonObject(folder, index);
  if (typeof map !== 'object' || map === null) throw new CheckpointError(`${index} has no weight_map`);
  const names = new Set(Object.values(map));
  for (const name of names) {
    // A shard is a plain file name: nothing outside the folder is opened.
    if (typeof name !== 'string' || !SHARD_NAME.test(name))
      throw new CheckpointError(`${index} names an impossible file`);
  }
  return [...(names as Set<string>)].sort();
}

/** Tensors of a part of a model, and what shape they have. */
export type Stored = Pick<Checkpoint, 'tensors'>;

/** All weights in memory, as float32. */
export function loadWeights(checkpoint: Checkpoint): Map<string, NamedTensor> {
  const weights = new Map<string, NamedTensor>();
  for (const [name, entry] of checkpoint.tensors) {
    weights.set(name, { shape: entry.shape, data: readFloat32(entry.file, entry) });
  }
  return weights;
}

/**
 * The same checkpoint with every weight as float32 in one file: itself where it is so already, otherwise a copy in
 * `cacheFolder`, made once for each state of its files, one tensor in memory at a time (the CPU has no float16 matrix
 * product).
 */
export function float32Checkpoint<C extends Stored>(checkpoint: C, cacheFolder: string): C {
  return storedAs(checkpoint, cacheFolder, '', () => 'F32');
}

/** As `float32Checkpoint`, with matrices in float16: what products in that precision read. */
export function float16Checkpoint<C extends Stored>(checkpoint: C, cacheFolder: string): C {
  return storedAs(checkpoint, cacheFolder, '-f16', ({ shape }) => (shape.length === 2 ? 'F16' : 'F32'));
}

function storedAs<C extends Stored>(
  checkpoint: C,
  cacheFolder: string,
  suffix: string,
  typeOf: (entry: StoredTensor) => StoredType,
): C {
  const entries = [...checkpoint.tensors.values()];
  if (entries.every((entry) => entry.dtype === typeOf(entry))) return checkpoint;
  mkdirSync(cacheFolder, { recursive: true });
  const file = join(cacheFolder, `${identity(entries)}${suffix}.safetensors`);
  if (!existsSync(file)) {
    const sources = [...checkpoint.tensors].map(([name, entry]) => {
      const read = () => readFloat32(entry.file, entry);
      return [name, { shape: entry.shape, dtype: typeOf(entry), read }] as const;
    });
    writeSafetensorsFrom(file, new Map(sources));
  }
  const tensors = new Map<string, StoredTensor>();
  for (const [name, entry] of readSafetensorsHeader(file).tensors) tensors.set(name, { ...entry, file });
  return { ...checkpoint, tensors };
}

/** Tells these weights from others, those included that stood in the same files before. */
export function identity(entries: readonly StoredTensor[]): string {
  const hash = createHash('sha256');
  for (const file of new Set(entries.map((entry) => entry.file))) {
    const { dev, ino, size, mtimeNs } = statSync(file, { bigint: true });
    hash.update(`${basename(file)} ${dev} ${ino} ${size} ${mtimeNs}\n`);
  }
  hash.update(JSON.stringify(entries.map(({ name, dtype, shape, offset }) => [name, dtype, shape, offset])));
  return hash.digest('hex').slice(0, 32);
}
