import { CheckpointError } from '../checkpoint/errors.ts';
import { readJsonObject } from '../checkpoint/read-json.ts';
import { openClip, openLlava } from '../checkpoint/vision.ts';
import { type Call, readCall, USAGE, UsageError } from './call.ts';
import { type ExportReport, exportHuggingFace } from './hugging-face.ts';
import { exportOnnx } from './onnx.ts';
import { exportOnnxClip } from './onnx-clip.ts';
import { exportOnnxLlava } from './onnx-llava.ts';
import { ProgressLine } from './progress-line.ts';
import { openExportModel } from './sources.ts';

async function run({ model: folder, adapter, format, out, dtype }: Call): Promise<ExportReport> {
  const line = new ProgressLine(process.stderr);
  const onWeight = (done: number, of: number) => line.show('writing weights', done, of);
  try {
    const type = format === 'onnx' ? readJsonObject(folder, 'config.json').model_type : undefined;
    if (type === 'llava') return await exportOnnxLlava(openLlava(folder), out, { onWeight }, adapter);
    if (type === 'clip' && !adapter) return await exportOnnxClip(openClip(folder), out, { onWeight });
    const model = openExportModel(folder, adapter);
    if (format === 'onnx') return await exportOnnx(model, out, { onWeight });
    return await exportHuggingFace(model, out, { onWeight, dtype });
  } finally {
    line.end();
  }
}

try {
  const call = readCall(process.argv.slice(2));
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
