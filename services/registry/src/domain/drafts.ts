import type { EntityManager } from '@landfall/common/db/database.ts';
import { invalidArgument } from '@landfall/common/errors/errors.ts';
import type { Lineage } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import { v7 as uuidv7 } from 'uuid';
import {
  type KindName,
  type Model,
  ModelEntity,
  type Version,
  VersionDatasetEntity,
  VersionEntity,
  VersionFileEntity,
} from '../db/entities.ts';
import { RemovedModelEntity, VersionPromptEntity } from '../db/life-entities.ts';
import { modelExists, versionExists, versionIsDeleted, versionIsReady } from '../errors.ts';
import { lockVersion } from './find.ts';
import type { ManifestFile } from './manifest.ts';
import { formatReference, parseReference } from './reference.ts';
import { nextVersion, precedenceKey } from './semver-order.ts';

/** More files than any model or data set of the mesh has. */
const MAX_FILES = 10_000;

/** Creates a model. Throws ALREADY_EXISTS. */
export async function createModel(
  em: EntityManager,
  tenant: string,
  init: { name: string; kind: KindName; description: string; labels: Record<string, string> },
): Promise<Model> {
  if (await em.findOne(ModelEntity, { tenant, name: init.name })) throw modelExists(init.name);
  const before = await em.findOne(RemovedModelEntity, { tenant, name: init.name });
  const model = em.create(ModelEntity, {
    id: uuidv7(),
    tenant,
    ...init,
    createdMs: Date.now(),
    revision: before?.revision ?? 0,
  });
  await em.flush();
  return model;
}

/** What is said of a version when it is created. */
export type DraftInit = {
  /** '' takes the version after the newest. */
  version: string;
  description: string;
  labels: Record<string, string>;
  /** SPDX identifier; '' takes that of the files' README.md. */
  license: string;
  tags: readonly string[];
  lineage: Lineage | undefined;
  /** `key:UUID` or `service:NAME`. */
  createdBy: string;
};

/** Opens a draft; the model must be locked, since '' takes the version after the newest. Throws ALREADY_EXISTS. */
export async function createDraft(em: EntityManager, model: Model, init: DraftInit): Promise<Version> {
  const [newest] = await em.find(
    VersionEntity,
    { modelId: model.id },
    { orderBy: { precedence: 'desc' }, limit: 1 },
  );
  const version = init.version || nextVersion(newest?.version);
  if (await em.findOne(VersionEntity, { modelId: model.id, version })) {
    throw versionExists(formatReference(model.name, version));
  }
  const draft = em.create(VersionEntity, {
    id: uuidv7(),
    modelId: model.id,
    tenant: model.tenant,
    name: model.name,
    version,
    precedence: precedenceKey(version),
    kind: model.kind,
    state: 'draft',
    description: init.description,
    digest: '',
    metrics: {},
    base: '',
    parent: '',
    jobId: '',
    method: '',
    labels: init.labels,
    createdMs: Date.now(),
    stage: 'development',
    license: init.license,
    tags: [...init.tags],
    source: '',
    createdBy: init.createdBy,
    deprecationReason: '',
    successor: '',
    deprecatedMs: null,
    sunsetMs: null,
    deletedMs: null,
    purgeMs: null,
    purgedMs: null,
    described: false,
  });
  await em.flush();
  if (init.lineage) await setLineage(em, draft, init.lineage);
  return draft;
}

/** Records what a draft is made from, in place of what was recorded before. References are only read here. */
export async function setLineage(em: EntityManager, draft: Version, lineage: Lineage): Promise<void> {
  if (lineage.base) parseReference(lineage.base, 'lineage.base');
  if (lineage.parent) parseReference(lineage.parent, 'lineage.parent');
  lineage.datasets.forEach(({ ref }, index) => {
    parseReference(ref, `lineage.datasets[${index}].ref`);
  });
  draft.base = lineage.base;
  draft.parent = lineage.parent;
  draft.jobId = lineage.jobId;
  draft.method = lineage.method;
  draft.source = lineage.source;
  await em.nativeDelete(VersionPromptEntity, { versionId: draft.id });
  lineage.prompts.forEach(({ ref, role }, position) => {
    em.create(VersionPromptEntity, { versionId: draft.id, position, tenant: draft.tenant, ref, role });
  });
  await em.nativeDelete(VersionDatasetEntity, { versionId: draft.id });
  lineage.datasets.forEach(({ ref, digest, role }, position) => {
    em.create(VersionDatasetEntity, {
      versionId: draft.id,
      position,
      tenant: draft.tenant,
      ref,
      digest,
      role,
    });
  });
  await em.flush();
}

/** Puts a stored file into a draft, in place of one at the same path. Throws FAILED_PRECONDITION once READY. */
export async function putFile(em: EntityManager, versionId: string, file: ManifestFile): Promise<void> {
  const version = await lockVersion(em, versionId);
  const ref = formatReference(version.name, version.version);
  if (version.deletedMs) throw versionIsDeleted(version);
  if (version.state !== 'draft') throw versionIsReady(ref);
  const before = await em.findOne(VersionFileEntity, { versionId, path: file.path });
  if (before) {
    before.digest = file.digest;
    before.sizeBytes = file.sizeBytes;
  } else {
    if ((await em.count(VersionFileEntity, { versionId })) >= MAX_FILES) {
      throw invalidArgument(
        'path',
        `${ref} has ${MAX_FILES} files already, which is the most a version may have`,
      );
    }
    em.create(VersionFileEntity, { versionId, ...file });
  }
  await em.flush();
}

/** Puts all files into a new draft at once. */
export async function putFiles(
  em: EntityManager,
  versionId: string,
  files: readonly ManifestFile[],
): Promise<void> {
  if (files.length > MAX_FILES)
    throw invalidArgument('files', `a version may have ${MAX_FILES} files at most`);
  const rows = files.map((file) => ({ versionId, ...file }));
  await em.insertMany(VersionFileEntity, rows);
}
