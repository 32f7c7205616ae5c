import { defineEntity, type InferEntity, p } from '@mikro-orm/core';
import { catalogEntities } from './catalog-entities.ts';
import { lifeEntities, type StageName } from './life-entities.ts';

/** What a version holds, as stored and as told in events. */
export type KindName = 'base' | 'adapter' | 'dataset';
export type StateName = 'draft' | 'ready';

/** A named series of versions of one tenant. */
export const ModelEntity = defineEntity({
  name: 'Model',
  tableName: 'model',
  properties: {
    id: p.uuid().primary(),
    tenant: p.string(),
    name: p.string(),
    kind: p.string().$type<KindName>(),
    description: p.text(),
    labels: p.json<Record<string, string>>(),
    createdMs: p.bigint('number'),
    /** Grows by one with every change in the life of a version. */
    revision: p.bigint('number'),
  },
});
export type Model = InferEntity<typeof ModelEntity>;

/** One version. Tenant, name and kind repeat the model's, so that lists need no join. */
export const VersionEntity = defineEntity({
  name: 'Version',
  tableName: 'version',
  properties: {
    /** UUIDv7, so that its order is the order of creation. */
    id: p.uuid().primary(),
    modelId: p.uuid(),
    tenant: p.string(),
    name: p.string(),
    version: p.string(),
    /** See domain/semver-order.ts. */
    precedence: p.text(),
    kind: p.string().$type<KindName>(),
    state: p.string().$type<StateName>(),
    description: p.text(),
    digest: p.string(),
    metrics: p.json<Record<string, number>>(),
    base: p.string(),
    parent: p.string(),
    jobId: p.string(),
    method: p.string(),
    labels: p.json<Record<string, string>>(),
    createdMs: p.bigint('number'),
    readyMs: p.bigint('number').nullable(),
    stage: p.string().$type<StageName>(),
    license: p.string(),
    tags: p.json<string[]>(),
    /** `hf://owner/name@commit` of an import. */
    source: p.string(),
    createdBy: p.string(),
    deprecatedMs: p.bigint('number').nullable(),
    sunsetMs: p.bigint('number').nullable(),
    deprecationReason: p.text(),
    successor: p.string(),
    deletedMs: p.bigint('number').nullable(),
    /** From then on a deleted version is purged. */
    purgeMs: p.bigint('number').nullable(),
    /** Its files are gone; the row stays, so that the number is never used again. */
    purgedMs: p.bigint('number').nullable(),
    /** Whether what its files say of it is in the catalog. */
    described: p.boolean(),
  },
});
export type Version = InferEntity<typeof VersionEntity>;

/** A file of a version; the content lies in the artifact store under its digest. */
export const VersionFileEntity = defineEntity({
  name: 'VersionFile',
  tableName: 'version_file',
  properties: {
    versionId: p.uuid().primary(),
    path: p.string().primary(),
    digest: p.string(),
    sizeBytes: p.bigint('number'),
  },
});
export type VersionFile = InferEntity<typeof VersionFileEntity>;

/** A data set that a version was made from, in the order given. */
export const VersionDatasetEntity = defineEntity({
  name: 'VersionDataset',
  tableName: 'version_dataset',
  properties: {
    versionId: p.uuid().primary(),
    position: p.integer().primary(),
    tenant: p.string(),
    ref: p.string(),
    digest: p.string(),
    role: p.string(),
  },
});
export type VersionDataset = InferEntity<typeof VersionDatasetEntity>;

/** A name that points at a READY version; the revision grows with each move. */
export const AliasEntity = defineEntity({
  name: 'Alias',
  tableName: 'alias',
  properties: {
    modelId: p.uuid().primary(),
    alias: p.string().primary(),
    versionId: p.uuid(),
    version: p.string(),
    revision: p.bigint('number'),
    movedMs: p.bigint('number'),
  },
});
export type Alias = InferEntity<typeof AliasEntity>;

export const registryEntities = [
  ModelEntity,
  VersionEntity,
  VersionFileEntity,
  VersionDatasetEntity,
  AliasEntity,
  ...lifeEntities,
  ...catalogEntities,
];
