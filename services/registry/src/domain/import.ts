import { create } from '@bufbuild/protobuf';
import type { EntityManager } from '@landfall/common/db/database.ts';
import { failedPrecondition, invalidArgument } from '@landfall/common/errors/errors.ts';
import type { Identity } from '@landfall/common/identity/identity.ts';
import { LineageSchema } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import {
  type ImportModelRequest,
  ImportModelRequestSchema,
  type ImportModelResponse,
  ImportModelResponseSchema,
} from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';
import type { RegistryContext } from '../context.ts';
import { type KindName, type Model, ModelEntity, VersionEntity } from '../db/entities.ts';
import { describeFiles } from '../describe/describe.ts';
import { versionExists } from '../errors.ts';
import { inspectVersion } from '../inspect/inspect.ts';
import type { Put } from './blobs.ts';
import { catalogVersion } from './catalog.ts';
import { makeReady } from './commit.ts';
import { createDraft, createModel, putFiles } from './drafts.ts';
import { announceChange, announceReady } from './events.ts';
import { lockModel } from './find.ts';
import { gatherFolder } from './gather-folder.ts';
import { gatherHub } from './gather-hub.ts';
import { answerOnce, findAnswer, requestKey } from './idempotency.ts';
import { type ManifestFile, sortFiles } from './manifest.ts';
import { checkVersion, formatReference, parseReference } from './reference.ts';
import { versionReply } from './replies.ts';
import { readText } from './requests.ts';
import { storedFile } from './stored-file.ts';

/** How far an import is; what is left out is as it was. */
export type ImportProgress = {
  step: 'list' | 'download' | 'store' | 'check';
  receivedBytes?: number;
  totalBytes?: number;
  receivedFiles?: number;
  totalFiles?: number;
};
export type Report = (progress: ImportProgress) => void;

/** Files that are in the store, and where they came from. */
export type Gathered = {
  files: ManifestFile[];
  /** For the lineage; '' for none. */
  source: string;
  skipped: string[];
  /** Called when the version is there: what was kept for a repeat can go. */
  done: () => Promise<void>;
  /** Called at the end, however it ended. */
  release: () => void;
};

/**
 * Imports a folder or a hub repository as one READY version. Content goes into the store and is checked there; then one transaction
 * makes the model (when it is new), the version, its files and the event. What failed leaves nothing.
 */
export async function importModel(
  context: RegistryContext,
  { tenant, subject }: Identity,
  request: ImportModelRequest,
  report: Report,
  signal: AbortSignal,
): Promise<ImportModelResponse> {
  const { artifacts, blobs, config, database } = context;
  const { name, version, folder, hubId, base } = request;
  if (base !== '') parseReference(base, 'base');
  if ((folder === '') === (hubId === '')) {
    throw invalidArgument('folder', 'name either a folder under the import root or a hub_id');
  }
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

  const taken: string[] = [];
  let gathered: Gathered | undefined;
  try {
    const answer = await blobs.using(async (put) => {
      const putTaken: Put = async (content, options) => {
        const blob = await put(content, options);
        taken.push(blob.digest);
        return blob;
      };
      const gather = hubId === '' ? gatherFolder : gatherHub;
      gathered = await gather(context, request, putTaken, report, signal);
      const { files, source, skipped } = gathered;
      report({ step: 'check' });
      const stored = files.map((file) => storedFile(artifacts, file));
      const kind = kindOf(files);
      await inspectVersion(kind, stored, signal);
      const described = await describeFiles(kind, stored);
      return answerOnce(database, key, ImportModelResponseSchema, async (em) => {
        const init = { name, kind, description, labels: {} };
        const model =
          (await findImportModel(em, tenant, name, version, kind)) ?? (await createModel(em, tenant, init));
        await lockModel(em, tenant, name);
        const author = { source: config.name, actor: subject };
        const draft = await createDraft(em, model, {
          version,
          description,
          labels: {},
          license: '',
          tags: [],
          lineage: source === '' && base === '' ? undefined : create(LineageSchema, { source, base }),
          createdBy: subject,
        });
        await announceChange(em, author, model, draft, 'created');
        await putFiles(em, draft.id, files);
        const claims = { metrics: {}, lineage: undefined, files: undefined };
        const { version: ready } = await makeReady(em, draft.id, sortFiles(files), claims);
        await catalogVersion(em, ready, described);
        await announceReady(em, author, model, ready);
        return create(ImportModelResponseSchema, { version: await versionReply(em, ready), skipped });
      });
    });
    await gathered?.done();
    return answer;
  } catch (error) {
    await blobs.discard(taken);
    throw error;
  } finally {
    gathered?.release();
  }
}

/** What a folder holds: peft writes an adapter_config.json where a whole model has its config.json. */
function kindOf(files: readonly ManifestFile[]): 'base' | 'adapter' {
  const has = (name: string) => files.some(({ path }) => path === name);
  return has('adapter_config.json') && !has('config.json') ? 'adapter' : 'base';
}

/**
 * The model to import into, or null when it is new. Throws ALREADY_EXISTS, and FAILED_PRECONDITION by kind.
 * @param kind of what is imported, once that is known
 */
async function findImportModel(
  em: EntityManager,
  tenant: string,
  name: string,
  version: string,
  kind?: KindName,
): Promise<Model | null> {
  const model = await em.findOne(ModelEntity, { tenant, name });
  if (!model) return null;
  if (model.kind === 'dataset' || (kind !== undefined && model.kind !== kind)) {
    throw failedPrecondition(`'${name}' holds versions of kind ${model.kind}; import into another name`, {
      reason: 'WRONG_KIND',
    });
  }
  if (version !== '' && (await em.findOne(VersionEntity, { modelId: model.id, version }))) {
    throw versionExists(formatReference(name, version));
  }
  return model;
}
