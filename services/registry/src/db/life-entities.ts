import { defineEntity, type InferEntity, p } from '@mikro-orm/core';

/** How far a version is trusted, as stored and as told in events. */
export type StageName = 'development' | 'staging' | 'production' | 'archived';

/** What changed in the life of a model, as stored, and as the subject of its event says. */
export type Change =
  | 'created'
  | 'ready'
  | 'alias.moved'
  | 'staged'
  | 'checked'
  | 'approved'
  | 'deprecated'
  | 'reinstated'
  | 'deleted'
  | 'restored'
  | 'purged';

/** A prompt that had a part in a version, in the order given. */
export const VersionPromptEntity = defineEntity({
  name: 'VersionPrompt',
  tableName: 'version_prompt',
  properties: {
    versionId: p.uuid().primary(),
    position: p.integer().primary(),
    tenant: p.string(),
    ref: p.string(),
    role: p.string(),
  },
});

/** What an alias asks for, as stored. */
export type StoredPolicy = {
  metrics: { metric: string; min?: number; max?: number }[];
  checks: string[];
  licenses: string[];
  approvals: number;
  /** '' for none. */
  minStage: StageName | '';
};

/** A protected alias; of all models of the tenant where the name is ''. */
export const AliasPolicyEntity = defineEntity({
  name: 'AliasPolicy',
  tableName: 'alias_policy',
  properties: {
    tenant: p.string().primary(),
    name: p.string().primary(),
    alias: p.string().primary(),
    policy: p.json<StoredPolicy>(),
  },
});
export type AliasPolicyRow = InferEntity<typeof AliasPolicyEntity>;

/** The last revision of an alias that was removed, so that it goes on growing when the alias comes back. */
export const RemovedAliasEntity = defineEntity({
  name: 'RemovedAlias',
  tableName: 'removed_alias',
  properties: {
    modelId: p.uuid().primary(),
    alias: p.string().primary(),
    revision: p.bigint('number'),
  },
});

/** The last revision of a model that was removed, so that it goes on growing when a model of its name is made again. */
export const RemovedModelEntity = defineEntity({
  name: 'RemovedModel',
  tableName: 'removed_model',
  properties: {
    tenant: p.string().primary(),
    name: p.string().primary(),
    revision: p.bigint('number'),
  },
});

/** The outcome of a check; the newest of a name counts. */
export const VersionCheckEntity = defineEntity({
  name: 'VersionCheck',
  tableName: 'version_check',
  properties: {
    /** UUIDv7, so that its order is the order of recording. */
    id: p.uuid().primary(),
    versionId: p.uuid(),
    checkName: p.string(),
    passed: p.boolean(),
    detail: p.text(),
    evidence: p.string(),
    recordedBy: p.string(),
    recordedMs: p.bigint('number'),
  },
});
export type VersionCheck = InferEntity<typeof VersionCheckEntity>;

/** A person's yes to a version for an alias. */
export const VersionApprovalEntity = defineEntity({
  name: 'VersionApproval',
  tableName: 'version_approval',
  properties: {
    versionId: p.uuid().primary(),
    alias: p.string().primary(),
    approvedBy: p.string().primary(),
    comment: p.text(),
    approvedMs: p.bigint('number'),
  },
});
export type VersionApproval = InferEntity<typeof VersionApprovalEntity>;

/** A change in the life of a model, by the revision that it made. */
export const ModelHistoryEntity = defineEntity({
  name: 'ModelHistory',
  tableName: 'model_history',
  properties: {
    modelId: p.uuid().primary(),
    revision: p.bigint('number').primary(),
    change: p.string().$type<Change>(),
    version: p.string(),
    alias: p.string(),
    actor: p.string(),
    detail: p.text(),
    atMs: p.bigint('number'),
  },
});
export type ModelHistory = InferEntity<typeof ModelHistoryEntity>;

/** A deployment as the balancer's newest event tells of it. */
export const DeploymentUseEntity = defineEntity({
  name: 'DeploymentUse',
  tableName: 'deployment_use',
  properties: {
    tenant: p.string().primary(),
    name: p.string().primary(),
    model: p.string(),
    state: p.string(),
    revision: p.bigint('number'),
  },
});

export const lifeEntities = [
  VersionPromptEntity,
  AliasPolicyEntity,
  RemovedAliasEntity,
  RemovedModelEntity,
  VersionCheckEntity,
  VersionApprovalEntity,
  ModelHistoryEntity,
  DeploymentUseEntity,
];
