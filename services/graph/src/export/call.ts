import { statSync } from 'node:fs';
import { parseArgs } from 'node:util';
import type { StoredType } from '../checkpoint/safetensors.ts';

export const USAGE = `npm run export -- --model FOLDER [--adapter FOLDER] --format hf|onnx --out FOLDER [--dtype TYPE]
  --model FOLDER    a Hugging Face model folder: config.json and its safetensors
  --adapter FOLDER  a LoRA adapter in peft's layout, merged into the weights
  --format hf       a model folder that transformers loads; in shards of 5 GB where it is larger
  --format onnx     a folder in the layout of onnx-community, in float32, that transformers.js runs
  --out FOLDER      where to; it must not be there, or be empty
  --dtype TYPE      of hf: float32, float16 or bfloat16; as the model is stored where not given`;

const DTYPES: Record<string, StoredType> = { float32: 'F32', float16: 'F16', bfloat16: 'BF16' };

/** A call that can't be understood. */
export class UsageError extends Error {}

/** What the command is asked to do. */
export interface Call {
  model: string;
  adapter: string | undefined;
  format: 'hf' | 'onnx';
  out: string;
  dtype: StoredType | undefined;
}

/**
 * Reads the command's arguments; undefined where help is asked for.
 * @throws UsageError that names the argument
 */
export function readCall(args: readonly string[]): Call | undefined {
  const { values } = parse(args);
  if (values.help) return undefined;
  const { model, adapter, format, out, dtype } = values;
  for (const [name, value] of Object.entries({ model, format, out }))
    if (!value) throw new UsageError(`--${name} is missing`);
  for (const [name, folder] of Object.entries({ model, adapter })) {
    if (folder !== undefined && !statSync(folder, { throwIfNoEntry: false })?.isDirectory())
      throw new UsageError(`--${name} ${folder}: there is no such folder`);
  }
  if (format !== 'hf' && format !== 'onnx') throw new UsageError(`--format ${format} is unknown`);
  if (dtype !== undefined && !Object.hasOwn(DTYPES, dtype))
    throw new UsageError(`--dtype ${dtype} is unknown`);
  if (dtype !== undefined && dtype !== 'float32' && format === 'onnx')
    throw new UsageError(`--dtype ${dtype}: an ONNX folder is written in float32`);
  return {
    model: model!,
    adapter,
    format,
    out: out!,
    dtype: dtype === undefined ? undefined : DTYPES[dtype],
  };
}

function parse(args: readonly string[]) {
  const text = { type: 'string' } as const;
  try {
    return parseArgs({
      args: [...args],
      options: {
        model: text,
        adapter: text,
        format: text,
        out: text,
        dtype: text,
        help: { type: 'boolean', short: 'h' },
      },
    });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}
