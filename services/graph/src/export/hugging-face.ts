import { join } from 'node:path';
import { writeJsonAtomically } from '../checkpoint/atomic-file.ts';
import { readJsonObject } from '../checkpoint/read-json.ts';
import { type StoredType, type TensorSource, writeSafetensorsFrom } from '../checkpoint/safetensors.ts';
import { configJson } from '../checkpoint/write-model.ts';
import { copyCompanions, fillFolder } from './folder.ts';
import { type ExportModel, sizeOf } from './sources.ts';

export interface HuggingFaceOptions {
  /** How weights are stored; by default as the base has them, F32 where it has them in several ways. */
  dtype?: StoredType | undefined;
  /** Weights are spread over files of at most this size (default 5 GB); a weight is never split. */
  maxShardBytes?: number;
  /** Called before each weight is written. */
  onWeight?: (done: number, of: number) => void;
}

/** What was written. */
export interface ExportReport {
  parameters: number;
  /** Bytes of all weights. */
  bytes: number;
  /** Files with weights. */
  files: string[];
  /** Whether a tokenizer went along. */
  tokenizer: boolean;
}

const VALUE_BYTES = { F32: 4, F16: 2, BF16: 2 } as const;
const SHARD_BYTES = 5e9;

/**
 * Writes a Hugging Face model folder: config.json, generation_config.json, the tokenizer's files, and the weights as
 * model.safetensors, or in numbered shards with an index where they are large.
 * @throws CheckpointError when the folder is there already
 */
export async function exportHuggingFace(
  model: ExportModel,
  out: string,
  options: HuggingFaceOptions = {},
): Promise<ExportReport> {
  const { checkpoint, weights } = model;
  const dtype = options.dtype ?? storedType(model);
  const shards = intoShards(weights, VALUE_BYTES[dtype], options.maxShardBytes ?? SHARD_BYTES);
  const parameters = [...weights.values()].reduce((sum, source) => sum + sizeOf(source), 0);
  const bytes = parameters * VALUE_BYTES[dtype];
  let done = 0;
  const told = ([name, source]: [string, TensorSource]) => {
    const read = () => {
      options.onWeight?.(done++, weights.size);
      return source.read();
    };
    return [name, { shape: source.shape, read }] as const;
  };
  return fillFolder(out, async (folder) => {
    const weightMap: Record<string, string> = {};
    const files = shards.map((shard, i) => {
      const file = shardName(i, shards.length);
      writeSafetensorsFrom(join(folder, file), new Map(shard.map(told)), { dtype });
      for (const [name] of shard) weightMap[name] = file;
      return file;
    });
    if (files.length > 1)
      writeJsonAtomically(join(folder, 'model.safetensors.index.json'), {
        metadata: { total_parameters: parameters, total_size: bytes },
        weight_map: weightMap,
      });
    const config = readJsonObject(checkpoint.folder, 'config.json');
    const tokenizer = copyCompanions(checkpoint.folder, folder, config);
    writeJsonAtomically(join(folder, 'config.json'), configJson(config, dtype));
    return { parameters, bytes, files, tokenizer };
  });
}

/** The type of all weights of the base, or F32. */
function storedType({ checkpoint, weights }: ExportModel): StoredType {
  const types = new Set([...weights.keys()].map((name) => checkpoint.tensors.get(name)!.dtype));
  const [only] = types;
  return types.size === 1 ? (only as StoredType) : 'F32';
}

/** As few files as there can be with the weights in their order. */
function intoShards(
  weights: ReadonlyMap<string, TensorSource>,
  valueBytes: number,
  maxBytes: number,
): [string, TensorSource][][] {
  const shards: [string, TensorSource][][] = [];
  let left = 0;
  for (const entry of weights) {
    const bytes = sizeOf(entry[1]) * valueBytes;
    if (shards.length === 0 || bytes > left) {
      shards.push([]);
      left = maxBytes;
    }
    shards.at(-1)!.push(entry);
    left -= bytes;
  }
  return shards;
}

function shardName(index: number, count: number): string {
  if (count === 1) return 'model.safetensors';
  const five = (n: number) => String(n).padStart(5, '0');
  return `model-${five(index + 1)}-of-${five(count)}.safetensors`;
}
