import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { Tensor as OrtTensor } from 'onnxruntime-node';
import type { Tape } from '../autodiff/tape.ts';
import { identity, type Stored, type StoredTensor } from '../checkpoint/checkpoint.ts';
import {
  readFloat32,
  readSafetensorsHeader,
  type TensorSource,
  writeSafetensorsFrom,
} from '../checkpoint/safetensors.ts';
import type { TowerProduct } from '../models/clip.ts';
import type { WeightSource } from '../onnx/weights.ts';
import { packInt4, packInt8 } from '../serving/quantize.ts';

/** How the weights of a tower's layers are kept; what stands before and behind the layers is float32. */
export type TowerPrecision = 'float32' | 'int8' | 'int4';
export const TOWER_PRECISIONS: readonly TowerPrecision[] = ['float32', 'int8', 'int4'];

type Packed = Exclude<TowerPrecision, 'float32'>;

/** Products of the layers; what stands before and behind them stays as it is. */
const PRODUCTS = /encoder\.layers\.\d+\.(?:self_attn\.(?:[qkv]|out)_proj|mlp\.fc[12])\.weight$/;

/** Inputs that share a scale with int4: a tower is small beside a decoder, and larger blocks lose more than they save. */
const BLOCK = 32;

/**
 * A checkpoint of towers with the weights of its layers packed as well, made once for each state of its files in
 * `cacheFolder`: int8 with a scale for each output, int4 with one for each block of inputs of an output.
 */
export function packedCheckpoint<C extends Stored>(
  checkpoint: C,
  precision: TowerPrecision,
  cacheFolder: string,
): C {
  if (precision === 'float32') return checkpoint;
  const packed = [...checkpoint.tensors].filter(([name]) => PRODUCTS.test(name));
  mkdirSync(cacheFolder, { recursive: true });
  const state = identity([...checkpoint.tensors.values()]);
  const file = join(cacheFolder, `${state}-${precision}-towers.safetensors`);
  if (!existsSync(file))
    writeSafetensorsFrom(file, new Map(packed.flatMap((one) => sourcesOf(one, precision))));
  const tensors = new Map<string, StoredTensor>(checkpoint.tensors);
  for (const [name, entry] of readSafetensorsHeader(file).tensors) tensors.set(name, { ...entry, file });
  return { ...checkpoint, tensors };
}

function sourcesOf(
  [name, entry]: readonly [string, StoredTensor],
  precision: Packed,
): [string, TensorSource][] {
  const shape = entry.shape as [number, number];
  const [outputs, inputs] = shape;
  const read = () => readFloat32(entry.file, entry);
  const module = name.replace(/\.weight$/, '');
  if (precision === 'int8') {
    const pack = () => packInt8(read(), shape);
    return [
      [`${module}.int8`, { shape: [inputs, outputs], dtype: 'I8', read: () => pack().values }],
      [`${module}.scales`, { shape: [outputs], read: () => pack().scales }],
    ];
  }
  const blocks = Math.ceil(inputs / BLOCK);
  const pack = () => packInt4(read(), shape, BLOCK);
  return [
    [`${module}.int4`, { shape: [outputs, blocks, BLOCK / 2], dtype: 'U8', read: () => pack().values }],
    [`${module}.scales`, { shape: [outputs * blocks], read: () => pack().scales }],
  ];
}

/** Products of the layers with the weights that `packedCheckpoint` made; undefined takes the weights as they are. */
export function packedProduct(
  tape: Tape,
  weights: WeightSource,
  prefix: string,
  precision: TowerPrecision,
): TowerProduct | undefined {
  if (precision === 'float32') return undefined;
  return precision === 'int8' ? int8Product(tape, weights, prefix) : int4Product(tape, weights, prefix);
}

/**
 * Products of 8 bits: a row of x has a scale of its own, so that what an image or text is embedded as does not depend on
 * those beside it. The graph gets an input `int8_middles`, [N, 1] of 128.
 */
function int8Product(tape: Tape, weights: WeightSource, prefix: string): TowerProduct {
  const { graph } = tape;
  const middle = graph.bytes('int8_middle', 'uint8', [], Uint8Array.of(128));
  const middles = graph.input('int8_middles', 'uint8', ['N', 1]);
  return (x, name, [outputs, inputs]) => {
    const largest = graph.node('ReduceMax', [graph.node('Abs', [x]), graph.ints([-1])]);
    const scale = graph.node('Mul', [largest, graph.float(1 / 127)]);
    const rounded = graph.node('QuantizeLinear', [x, scale, middles], {
      axis: { int: 1 },
      block_size: { int: inputs },
    });
    const packed = weights.get(`${prefix}${name}.int8`, [inputs, outputs], 'int8');
    const scales = weights.get(`${prefix}${name}.scales`, [outputs]);
    const y = graph.node('ms.MatMulIntegerToFloat', [rounded, packed, graph.float(1), scales, middle]);
    const bias = weights.get(`${prefix}${name}.bias`, [outputs]);
    return tape.constant(graph.node('Add', [graph.node('Mul', [y, scale]), bias]));
  };
}

/** Products with weights of 4 bits; x is rounded to 8 bits in blocks of its own (accuracy_level 4). */
function int4Product(tape: Tape, weights: WeightSource, prefix: string): TowerProduct {
  const { graph } = tape;
  return (x, name, [outputs, inputs]) => {
    const blocks = Math.ceil(inputs / BLOCK);
    const packed = weights.get(`${prefix}${name}.int4`, [outputs, blocks, BLOCK / 2], 'uint8');
    const scales = weights.get(`${prefix}${name}.scales`, [outputs * blocks]);
    const y = graph.node('ms.MatMulNBits', [x, packed, scales], {
      K: { int: inputs },
      N: { int: outputs },
      bits: { int: 4 },
      block_size: { int: BLOCK },
      accuracy_level: { int: 4 },
    });
    const bias = weights.get(`${prefix}${name}.bias`, [outputs]);
    return tape.constant(graph.node('Add', [y, bias]));
  };
}

/** What a graph with packed products asks for beside its own inputs. @param rows N */
export function packedFeeds(precision: TowerPrecision, rows: number): Record<string, OrtTensor> {
  if (precision !== 'int8') return {};
  return { int8_middles: new OrtTensor('uint8', new Uint8Array(rows).fill(128), [rows, 1]) };
}
