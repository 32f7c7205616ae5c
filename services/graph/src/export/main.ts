import { statSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { CheckpointError } from '../checkpoint/errors.ts';
import type { StoredType } from '../checkpoint/safetensors.ts';
import { type ExportReport, exportHuggingFace } from './hugging-face.ts';
import { exportOnnx } from './onnx.ts';
import { ProgressLine } from './progress-line.ts';
import { openExportModel } from './sources.ts';

const USAGE = `npm run export -- --model FOLDER [--adapter FOLDER] --format hf|onnx --out FOLDER [--dtype TYPE]
  --model FOLDER    a Hugging Face model folder: config.json and its safetensors
  --adapter FOLDER  a LoRA adapter in peft's layout, merged into the weights
  --format hf       a model folder that transformers loads; in shards of 5 GB where it is larger
  --format onnx     a folder in the layout of onnx-community, in float32, that transformers.js runs
  --out FOLDER      where to; it must not be there, or be empty
  --dtype TYPE      of hf: float32, float16 or bfloat16; as the model is stored where not given`;

const DTYPES: Record<string, StoredType> = { float32: 'F32', float16: 'F16', bfloat16: 'BF16' };

/** A call that can't be understood. */
class UsageError extends Error {}

interface Call {
  model: string;
  adapter: string | undefined;
  format: 'hf' | 'onnx';
  out: string;
  dtype: StoredType | undefined;
}

function readCall(): Call | undefined {
  const { values } = parse();
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

function parse() {
  const text = { type: 'string' } as const;
  try {
    return parseArgs({
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

async function run({ model: folder, adapter, format, out, dtype }: Call): Promise<ExportReport> {
  const line = new ProgressLine(process.stderr);
  const model = openExportModel(folder, adapter);
  const onWeight = (done: number, of: number) => line.show('writing weights', done, of);
  try {
    if (format === 'onnx') return await exportOnnx(model, out, { onWeight });
    return await exportHuggingFace(model, out, { onWeight, dtype });
  } finally {
    line.end();
  }
}

try {
  const call = readCall();
  if (!call) console.log(USAGE);
  else {
    const { parameters, bytes, files, tokenizer } = await run(call);
    const size = bytes >= 1e9 ? `${(bytes / 1e9).toFixed(2)} GB` : `${(bytes / 1e6).toFixed(2)} MB`;
    console.log(`${call.out}: ${parameters} parameters, ${size} in ${files.join(', ')}`);
    if (!tokenizer)
      console.error('note: the model folder has no tokenizer.json; texts need one beside the model');
  }
} catch (error) {
  if (error instanceof UsageError) console.error(`${error.message}\n\n${USAGE}`);
  else if (error instanceof CheckpointError) console.error(`can't be exported: ${error.message}`);
  // What the system says names the file: a full disk, a folder that can't be written.
  else if ((error as NodeJS.ErrnoException).code !== undefined)
    console.error(`can't be exported: ${(error as Error).message}`);
  else throw error;
  process.exitCode = 1;
}
