import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { type Checkpoint, identity, type StoredTensor } from '../checkpoint/checkpoint.ts';
import { CheckpointError } from '../checkpoint/errors.ts';
import {
  readFloat32,
  readSafetensorsHeader,
  type TensorSource,
  writeSafetensorsFrom,
} from '../checkpoint/safetensors.ts';
import { headWeightName, weightShapes } from '../models/transformer.ts';
import { type GroupKind, linearGroups, moduleName, sum } from './linear-groups.ts';
import { packInt4, packInt8 } from './quantize.ts';

/** How weights of linear modules are kept while serving. */
export type ServingPrecision = 'float32' | 'int8' | 'int4';

export const SERVING_PRECISIONS: readonly ServingPrecision[] = ['float32', 'int8', 'int4'];

export interface PackingOptions {
  precision: ServingPrecision;
  /** Inputs that share a scale with int4: 16, 32, 64, 128 or 256. */
  int4Block: number;
}

/** Name of a group's packed weight. */
export const packedName = (layer: number, kind: GroupKind) => `layers.${layer}.${kind}`;
/** Name of the packed head. */
export const HEAD = 'head';

/**
 * The weights as the serving graph reads them: linear modules of one input behind one another, in the precision asked
 * for. What the checkpoint has in that form already stays in its file; the rest is written once, for each state of the
 * checkpoint's files, to a file in `cacheFolder`, one weight in memory at a time.
 * @throws CheckpointError for a tensor that is missing or has another shape
 */
export function packedWeights(
  checkpoint: Checkpoint,
  cacheFolder: string,
  options: PackingOptions,
): ReadonlyMap<string, StoredTensor> {
  const sources = packedSources(checkpoint, options);
  const packed = new Map<string, StoredTensor>();
  for (const [name, entry] of checkpoint.tensors) {
    if (entry.dtype === 'F32' && sources.get(name)) {
      packed.set(name, entry);
      sources.delete(name);
    }
  }
  mkdirSync(cacheFolder, { recursive: true });
  const { precision, int4Block } = options;
  const form = precision === 'int4' ? `int4-${int4Block}` : precision;
  const file = join(cacheFolder, `${identity([...checkpoint.tensors.values()])}-${form}.safetensors`);
  if (!existsSync(file)) writeSafetensorsFrom(file, sources);
  for (const [name, entry] of readSafetensorsHeader(file).tensors) packed.set(name, { ...entry, file });
  return packed;
}

function packedSources(checkpoint: Checkpoint, options: PackingOptions): Map<string, TensorSource> {
  const { config } = checkpoint;
  const shapes = weightShapes(config);
  const read = (name: string) => {
    const entry = checkpoint.tensors.get(name)!;
    return readFloat32(entry.file, entry);
  };
  for (const [name, shape] of shapes) checkTensor(checkpoint, name, shape);
  const sources = new Map<string, TensorSource>();
  const keep = (name: string) => sources.set(name, { shape: shapes.get(name)!, read: () => read(name) });
  const add = (name: string, weights: readonly string[], inputs: number) => {
    const outputs = sum(weights.map((weight) => shapes.get(weight)![0]!));
    // As it stands, it can be read where it lies.
    if (options.precision === 'float32' && weights.length === 1) return void keep(weights[0]!);
    addPacked(sources, name, () => joined(weights.map(read)), [outputs, inputs], options);
  };
  for (let layer = 0; layer < config.layers; layer++) {
    for (const { kind, modules, inputs, bias } of linearGroups(config)) {
      const names = modules.map((module) => moduleName(layer, module));
      const weights = names.map((name) => `${name}.weight`);
      add(packedName(layer, kind), weights, inputs);
      if (!bias) continue;
      const biases = names.map((name) => `${name}.bias`);
      const size = sum(biases.map((name) => shapes.get(name)![0]!));
      sources.set(`${packedName(layer, kind)}.bias`, { shape: [size], read: () => joined(biases.map(read)) });
    }
  }
  add(HEAD, [headWeightName(config)], config.hiddenSize);
  for (const name of shapes.keys()) if (/norm\.weight$|embed_tokens/.test(name)) keep(name);
  return sources;
}

function addPacked(
  sources: Map<string, TensorSource>,
  name: string,
  read: () => Float32Array,
  shape: readonly [number, number],
  { precision, int4Block }: PackingOptions,
): void {
  const [outputs, inputs] = shape;
  if (precision === 'float32') {
    sources.set(`${name}.weight`, { shape, read });
    return;
  }
  const blocks = Math.ceil(inputs / int4Block);
  const pack = () => (precision === 'int8' ? packInt8(read(), shape) : packInt4(read(), shape, int4Block));
  const values = precision === 'int8' ? [inputs, outputs] : [outputs, blocks, int4Block / 2];
  const scales = precision === 'int8' ? [outputs] : [outputs * blocks];
  const dtype = precision === 'int8' ? 'I8' : 'U8';
  sources.set(`${name}.${precision}`, { shape: values, dtype, read: () => pack().values });
  sources.set(`${name}.scales`, { shape: scales, read: () => pack().scales });
}

function checkTensor({ tensors }: Checkpoint, name: string, shape: readonly number[]): void {
  const entry = tensors.get(name);
  if (!entry) throw new CheckpointError(`the checkpoint has no tensor ${name}`);
  if (entry.shape.join() !== shape.join())
    throw new CheckpointError(
      `tensor ${name} has the shape [${entry.shape}]; the configuration asks for [${shape}]`,
    );
}

function joined(parts: readonly Float32Array[]): Float32Array {
  if (parts.length === 1) return parts[0]!;
  const all = new Float32Array(sum(parts.map((part) => part.length)));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
