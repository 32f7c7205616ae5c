import type { ImportModelRequest } from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';
import type { RegistryContext } from '../context.ts';
import { checkFileName } from '../inspect/forbidden.ts';
import type { Put } from './blobs.ts';
import type { Gathered, Report } from './import.ts';
import { type ImportFile, listImport, openImport } from './import-folder.ts';
import { watchIntake } from './intake.ts';

/** Brings the files of a folder under the import root into the store. */
export async function gatherFolder(
  context: RegistryContext,
  { folder }: ImportModelRequest,
  put: Put,
  report: Report,
  signal: AbortSignal,
): Promise<Gathered> {
  const { config } = context;
  report({ step: 'list' });
  const listed = await listImport(config.importRoot, folder, config.importLimits);
  for (const { path } of listed) checkFileName(path, 'folder');
  const totalBytes = listed.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const files: Gathered['files'] = [];
  let receivedBytes = 0;
  for (const file of listed) {
    const blob = await takeImport(context, put, file, signal);
    files.push({ path: file.path, ...blob });
    receivedBytes += blob.sizeBytes;
    const totals = { totalBytes, receivedFiles: files.length, totalFiles: listed.length };
    report({ step: 'store', receivedBytes, ...totals });
  }
  return { files, source: '', skipped: [], done: async () => {}, release: () => {} };
}

async function takeImport({ config }: RegistryContext, put: Put, file: ImportFile, signal: AbortSignal) {
  const handle = await openImport(config.importRoot, file);
  try {
    const content = handle.createReadStream({ autoClose: false, highWaterMark: 256 * 1024 });
    return await put(watchIntake(file.path, content, { sizeBytes: 0, idleMs: config.uploadIdleMs, signal }), {
      maxBytes: config.maxFileBytes,
      signal,
    });
  } finally {
    await handle.close();
  }
}
