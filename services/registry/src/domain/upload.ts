import { invalidArgument } from '@landfall/common/errors/errors.ts';
import { type File, FileSchema } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import type { UploadHeader } from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';
import type { RegistryContext } from '../context.ts';
import { VersionFileEntity } from '../db/entities.ts';
import { versionIsReady } from '../errors.ts';
import { checkFileName } from '../inspect/forbidden.ts';
import { putFile } from './drafts.ts';
import { findVersion } from './find.ts';
import { answerOnce, type RequestKey, requestDigest } from './idempotency.ts';
import { watchIntake } from './intake.ts';
import type { ManifestFile } from './manifest.ts';
import { checkFilePath } from './path.ts';
import { checkVersion, formatReference } from './reference.ts';
import { fileReply } from './replies.ts';

/**
 * Takes one file into a draft: header checks, content into the store, then the row. The file is in the draft when
 * this resolves and not at all otherwise. A file that a READY version holds already is not taken again, but its
 * upload is answered, since a client may repeat what it does not know to have succeeded.
 */
export async function takeFile(
  { blobs, config, database }: RegistryContext,
  tenant: string,
  method: string,
  header: UploadHeader,
  content: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): Promise<File> {
  const { name, requestId, digest } = header;
  const path = checkFilePath(header.path, 'header.path');
  checkFileName(path, 'header.path');
  const sizeBytes = Number(header.sizeBytes);
  if (sizeBytes > config.maxFileBytes) {
    throw invalidArgument('header.size_bytes', `a file may have ${config.maxFileBytes} bytes at most`);
  }
  const version = await database.read((em) => findVersion(em, tenant, name, checkVersion(header.version)));
  if (version.state === 'ready') {
    const held = await database.read((em) => em.findOne(VersionFileEntity, { versionId: version.id, path }));
    if (held && held.digest === digest) return fileReply(held);
    throw versionIsReady(formatReference(name, version.version));
  }
  return blobs.using(async (put) => {
    const blob = await put(watchIntake(path, content, { sizeBytes, idleMs: config.uploadIdleMs, signal }), {
      ...(digest && { digest }),
      ...(sizeBytes > 0 && { sizeBytes }),
      maxBytes: config.maxFileBytes,
      signal,
    });
    signal.throwIfAborted();
    const file: ManifestFile = { path, ...blob };
    const key: RequestKey = {
      tenant,
      method,
      requestId,
      digest: requestDigest([name, version.version, file]),
    };
    return answerOnce(database, key, FileSchema, async (em) => {
      await putFile(em, version.id, file);
      return fileReply(file);
    });
  });
}
