import { posix } from 'node:path';
import { invalidArgument } from '@landfall/common/errors/errors.ts';
import type { KindName } from '../db/entities.ts';
import { checkFilePath, checkPathsFitTogether } from '../domain/path.ts';
import { checkAdapter } from './adapter.ts';
import { checkBase } from './base.ts';
import { checkDataset, type DatasetSummary } from './dataset.ts';
import { checkFileName, checkHead, HEAD_BYTES } from './forbidden.ts';
import { checkOnnx, type ExternalData } from './onnx.ts';
import { readSafetensors } from './safetensors.ts';
import type { InspectedFile } from './source.ts';

/**
 * Checks all files of a version together before it becomes READY. Throws INVALID_ARGUMENT, and FAILED_PRECONDITION
 * with a report by row for a data set. Returns what was seen of a data set.
 */
export async function inspectVersion(
  kind: KindName,
  files: readonly InspectedFile[],
  signal?: AbortSignal,
): Promise<DatasetSummary | undefined> {
  checkPathsFitTogether(files.map(({ path }) => path));
  const sizes = new Map(files.map(({ path, sizeBytes }) => [path, sizeBytes]));
  for (const file of files) {
    signal?.throwIfAborted();
    for (const data of await inspectContent(file)) checkExternalData(file.path, data, sizes);
  }
  if (kind === 'dataset') return checkDataset(files, signal);
  await (kind === 'base' ? checkBase(files) : checkAdapter(files));
  return undefined;
}

/**
 * Checks one file for itself, whatever it belongs to: its name, that it is nothing which runs code or hides files,
 * and that it is what its name says. Nothing is loaded or run. Returns the external data of an ONNX file.
 */
async function inspectContent(file: InspectedFile): Promise<ExternalData[]> {
  checkFilePath(file.path);
  checkFileName(file.path);
  checkHead(file.path, await file.read(0, HEAD_BYTES), file.sizeBytes <= HEAD_BYTES);
  if (/\.safetensors$/i.test(file.path)) await readSafetensors(file);
  return /\.onnx$/i.test(file.path) ? checkOnnx(file) : [];
}

/** External data must lie in another file of the same version, and all of it. */
function checkExternalData(path: string, data: ExternalData, sizes: ReadonlyMap<string, number>): void {
  const target = posix.join(posix.dirname(path), data.location);
  const size = sizes.get(target);
  if (size === undefined) {
    throw invalidArgument(
      'files',
      `'${path}' keeps tensor ${data.tensor} in '${target}', which is not in the version`,
    );
  }
  if (data.offset + (data.length ?? 0) > size) {
    throw invalidArgument('content', `'${path}' reads tensor ${data.tensor} beyond the end of '${target}'`);
  }
}
