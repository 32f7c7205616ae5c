import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { writeFileAtomically, writeJsonAtomically } from '../checkpoint/atomic-file.ts';
import { readJsonObject } from '../checkpoint/read-json.ts';
import type { TensorSource } from '../checkpoint/safetensors.ts';
import { configJson } from '../checkpoint/write-model.ts';
import { OnnxGraph, type Value } from '../onnx/graph.ts';
import { copyCompanions, fillFolder } from './folder.ts';
import type { ExportReport } from './hugging-face.ts';
import { writeDecoderWithPast } from './onnx-graph.ts';
import { type ExportModel, sizeOf } from './sources.ts';

export interface OnnxOptions {
  /** Weights are spread over files of at most this size, so that a browser can hold one (default 1.9 GB). */
  maxDataBytes?: number;
  /** Called before each weight is written. */
  onWeight?: (done: number, of: number) => void;
}

const DATA_BYTES = 1.9e9;
/** Where a weight begins in its file: a page, so that the runtime can map it. */
const ALIGNMENT = 4096;

interface DataFile {
  name: string;
  weights: { name: string; source: TensorSource; offset: number }[];
  bytes: number;
}

/**
 * Writes a folder in the layout of onnx-community, in float32: onnx/model.onnx with its weights in model.onnx_data
 * beside it, config.json with what transformers.js needs to know, generation_config.json, the tokenizer's files.
 * @throws CheckpointError when the folder is there already
 */
export async function exportOnnx(
  model: ExportModel,
  out: string,
  options: OnnxOptions = {},
): Promise<ExportReport> {
  const { checkpoint, weights } = model;
  const { config } = checkpoint;
  return fillFolder(out, async (folder) => {
    mkdirSync(join(folder, 'onnx'));
    const told = tellWeights(weights.size, options);
    const write: WriteGraph = (graph, weight) => writeDecoderWithPast(graph, config, weight);
    const files = writeOnnxModel(folder, 'model', weights, write, { ...options, told });
    const json = readJsonObject(checkpoint.folder, 'config.json');
    const tokenizer = copyCompanions(checkpoint.folder, folder, json);
    writeJsonAtomically(join(folder, 'config.json'), {
      ...configJson(json, 'F32'),
      // Older versions of transformers.js shape the cache by these.
      num_key_value_heads: config.keyValueHeads,
      head_dim: config.headDim,
      'transformers.js_config': runtimeConfig({ 'model.onnx': files.length - 1 }),
    });
    const parameters = parameterCount(weights);
    return { parameters, bytes: 4 * parameters, files, tokenizer };
  });
}

/** What transformers.js is told: types, and into how many files the weights of each graph are spread. */
export function runtimeConfig(dataFiles: Record<string, number>): object {
  return { dtype: 'fp32', kv_cache_dtype: { fp32: 'float32' }, use_external_data_format: dataFiles };
}

export const parameterCount = (weights: ReadonlyMap<string, TensorSource>) =>
  [...weights.values()].reduce((sum, source) => sum + sizeOf(source), 0);

/** Called before each weight of all graphs of a folder. */
export function tellWeights(count: number, { onWeight }: OnnxOptions): () => void {
  let done = 0;
  return () => onWeight?.(done++, count);
}

/** Writes a graph's nodes; `weight` gives it a weight by its name. */
export type WriteGraph = (graph: OnnxGraph, weight: (name: string) => Value) => void;

/**
 * Writes onnx/NAME.onnx, and its weights beside it in onnx/NAME.onnx_data, NAME.onnx_data_1 and so on.
 * @returns paths of the graph and of its data files
 */
export function writeOnnxModel(
  folder: string,
  name: string,
  weights: ReadonlyMap<string, TensorSource>,
  write: WriteGraph,
  { maxDataBytes = DATA_BYTES, told }: { maxDataBytes?: number; told: () => void },
): string[] {
  const model = `${name}.onnx`;
  const files = intoFiles(model, weights, maxDataBytes);
  const places = new Map(
    files.flatMap((file) => file.weights.map((weight) => [weight.name, { file, ...weight }] as const)),
  );
  const graph = new OnnxGraph();
  const values = new Map<string, Value>();
  write(graph, (weight) => {
    let value = values.get(weight);
    if (!value) {
      const { file, source, offset } = places.get(weight)!;
      const data = { location: file.name, offset, byteLength: 4 * sizeOf(source) };
      value = graph.external(weight, source.shape, data);
      values.set(weight, value);
    }
    return value;
  });
  for (const file of files) writeFileAtomically(join(folder, 'onnx', file.name), dataOf(file, told));
  writeFileAtomically(join(folder, 'onnx', model), [graph.serialize()]);
  return [model, ...files.map((file) => file.name)].map((file) => `onnx/${file}`);
}

function intoFiles(model: string, weights: ReadonlyMap<string, TensorSource>, maxBytes: number): DataFile[] {
  const files: DataFile[] = [];
  for (const [name, source] of weights) {
    const byteLength = 4 * sizeOf(source);
    let file = files.at(-1);
    let offset = file ? Math.ceil(file.bytes / ALIGNMENT) * ALIGNMENT : 0;
    if (!file || offset + byteLength > maxBytes) {
      // The names by which transformers.js asks for them.
      file = { name: `${model}_data${files.length === 0 ? '' : `_${files.length}`}`, weights: [], bytes: 0 };
      files.push(file);
      offset = 0;
    }
    file.weights.push({ name, source, offset });
    file.bytes = offset + byteLength;
  }
  return files;
}

function* dataOf({ weights }: DataFile, onWeight: () => void): Generator<Uint8Array> {
  let at = 0;
  for (const { source, offset } of weights) {
    onWeight();
    if (offset > at) yield new Uint8Array(offset - at);
    const data = source.read();
    yield new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    at = offset + data.byteLength;
  }
}
