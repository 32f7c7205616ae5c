import { create } from '@bufbuild/protobuf';
import type { EntityManager } from '@landfall/common/db/database.ts';
import { failedPrecondition } from '@landfall/common/errors/errors.ts';
import {
  type ImportModelRequest,
  ImportModelRequestSchema,
  type ImportModelResponse,
  ImportModelResponseSchema,
} from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';
import type { RegistryContext } from '../context.ts';
import { type Model, ModelEntity, VersionEntity } from '../db/entities.ts';
import { versionExists } from '../errors.ts';
import { checkFileName } from '../inspect/forbidden.ts';
import { inspectVersion } from '../inspect/inspect.ts';
import type { Put } from './blobs.ts';
import { makeReady } from './commit.ts';
import { createDraft, createModel, putFiles } from './drafts.ts';
import { announceReady } from './events.ts';
import { lockModel } from './find.ts';
import { answerOnce, findAnswer, requestKey } from './idempotency.ts';
import { type ImportFile, listImport, openImport } from './import-folder.ts';
import { watchIntake } from './intake.ts';
import { type ManifestFile, sortFiles } from './manifest.ts';
import { checkVersion, formatReference } from './reference.ts';
import { versionReply } from './replies.ts';
import { readText } from './requests.ts';
import { storedFile } from './stored-file.ts';

/**
 * Imports a folder as one READY version. Content goes into the store and is checked there; then one transaction
 * makes the model (when it is new), the version, its files and the event. What failed leaves nothing.
 */
export async function importModel(
  context: RegistryContext,
  tenant: string,
  request: ImportModelRequest,
  signal: AbortSignal,
): Promise<ImportModelResponse> {
  const { artifacts, blobs, config, database } = context;
  const { name, version, folder } = request;
  if (version !== '') checkVersion(version);
  const description = readText('description', request.description);
  const key = requestKey(tenant, ImportModelRequestSchema, request);
  const before = await database.read(async (em) => {
    const answer = await findAnswer(em, key, ImportModelResponseSchema);
    // What can't be committed is not read first.
    if (!answer) await findImportModel(em, tenant, name, version);
    return answer;
  });
  if (before) return before;

  const listed = await listImport(config.importRoot, folder, config.importLimits);
  for (const { path } of listed) checkFileName(path, 'folder');
  const taken: string[] = [];
  try {
    return await blobs.using(async (put) => {
      const files: ManifestFile[] = [];
      for (const file of listed) {
        const blob = await takeImport(context, put, file, signal);
        taken.push(blob.digest);
        files.push({ path: file.path, ...blob });
      }
      await inspectVersion(
        'base',
        files.map((file) => storedFile(artifacts, file)),
        signal,
      );
      return answerOnce(database, key, ImportModelResponseSchema, async (em) => {
        const init = { name, kind: 'base', description, labels: {} } as const;
        const model =
          (await findImportModel(em, tenant, name, version)) ?? (await createModel(em, tenant, init));
        await lockModel(em, tenant, name);
        const draft = await createDraft(em, model, { version, description, labels: {}, lineage: undefined });
        await putFiles(em, draft.id, files);
        const claims = { metrics: {}, lineage: undefined, files: undefined };
        const { version: ready } = await makeReady(em, draft.id, sortFiles(files), claims);
        await announceReady(em, config.name, ready);
        return create(ImportModelResponseSchema, { version: await versionReply(em, ready) });
      });
    });
  } catch (error) {
    await blobs.discard(taken);
    throw error;
  }
}

/** The model to import into, or null when it is new. Throws ALREADY_EXISTS, and FAILED_PRECONDITION by kind. */
async function findImportModel(
  em: EntityManager,
  tenant: string,
  name: string,
  version: string,
): Promise<Model | null> {
  const model = await em.findOne(ModelEntity, { tenant, name });
  if (!model) return null;
  if (model.kind !== 'base') {
    throw failedPrecondition(`'${name}' holds versions of kind ${model.kind}; import into another name`, {
      reason: 'WRONG_KIND',
    });
  }
  if (version !== '' && (await em.findOne(VersionEntity, { modelId: model.id, version }))) {
    throw versionExists(formatReference(name, version));
  }
  return model;
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
