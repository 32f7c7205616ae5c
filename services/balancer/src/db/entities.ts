import { defineEntity, type InferEntity, p } from '@mikro-orm/core';

/** Where a deployment is, as stored and as told in events. */
export type StateName = 'progressing' | 'ready' | 'degraded' | 'stopped';

/** A declared deployment. A stopped one keeps its row, so that the revision of its name only ever grows. */
export const DeploymentEntity = defineEntity({
  name: 'Deployment',
  tableName: 'deployment',
  properties: {
    tenant: p.text().primary(),
    name: p.text().primary(),
    /** `models:/name/version` that answers. */
    model: p.text(),
    base: p.text(),
    /** Settings of its replicas; see domain/variant.ts. */
    variant: p.text(),
    /** What is being brought up to take over; empty for none. */
    nextModel: p.text(),
    nextBase: p.text(),
    nextVariant: p.text(),
    /** The alias that is followed, and what it was last seen to stand for; empty for none. */
    alias: p.text(),
    aliasModel: p.text(),
    /** Of what is declared to be served; see DeploymentRevisionEntity. */
    generation: p.bigint('number'),
    paused: p.boolean(),
    maxSurge: p.integer(),
    maxUnavailable: p.integer(),
    /** Replicas that are kept now, and between which numbers they may be. */
    replicas: p.integer(),
    minReplicas: p.integer(),
    maxReplicas: p.integer(),
    /** ScalingPolicy as ProtoJSON; empty for the defaults. */
    scaling: p.text(),
    /** The last changes of their number, the newest first, as JSON; see control/scaler.ts. */
    decisions: p.text(),
    /** Name of the deployment that takes what this one has no room for; empty for none. */
    overflow: p.text(),
    /** The model that is tried beside it; empty for none. */
    canaryModel: p.text(),
    canaryBase: p.text(),
    canaryWeight: p.float(),
    /** CanaryLimits as ProtoJSON. */
    canaryLimits: p.text(),
    canaryStartedMs: p.bigint('number'),
    /** How the last one ended, for people. */
    canaryOutcome: p.text(),
    readyReplicas: p.integer(),
    state: p.text().$type<StateName>(),
    /** Whether it was READY since it was last declared: what is missing then is DEGRADED, not PROGRESSING. */
    wasReady: p.boolean(),
    message: p.text(),
    revision: p.bigint('number'),
    createdMs: p.bigint('number'),
  },
});
export type Deployment = InferEntity<typeof DeploymentEntity>;

/** What a deployment was declared to serve, once; the newest few are kept. */
export const DeploymentRevisionEntity = defineEntity({
  name: 'DeploymentRevision',
  tableName: 'deployment_revision',
  properties: {
    tenant: p.text().primary(),
    name: p.text().primary(),
    generation: p.bigint('number').primary(),
    model: p.text(),
    base: p.text(),
    variant: p.text(),
    /** Who or what changed it, for people. */
    reason: p.text(),
    createdMs: p.bigint('number'),
  },
});
export type DeploymentRevision = InferEntity<typeof DeploymentRevisionEntity>;

/** What callers have told of a deployment's models since its canary began. */
export const ModelRecordEntity = defineEntity({
  name: 'ModelRecord',
  tableName: 'model_record',
  properties: {
    tenant: p.text().primary(),
    name: p.text().primary(),
    model: p.text().primary(),
    calls: p.bigint('number'),
    errors: p.bigint('number'),
    scores: p.bigint('number'),
    scoreSum: p.float(),
  },
});
export type ModelRecord = InferEntity<typeof ModelRecordEntity>;

/** A replica that was started, or is about to be. The row comes before the process and goes after it. */
export const ReplicaEntity = defineEntity({
  name: 'Replica',
  tableName: 'replica',
  properties: {
    /** UUID, also in the process's environment. */
    id: p.text().primary(),
    tenant: p.text(),
    base: p.text(),
    /** Settings that it was started with; see domain/variant.ts. */
    variant: p.text(),
    /** Its place in the set, from 0. */
    slot: p.integer(),
    /** `host:port` */
    address: p.text(),
    /** 0 until the process is known. */
    pid: p.bigint('number'),
    /** Tells the process from a later one with the same id; see runtime/process-mark.ts. */
    mark: p.text(),
    /** Times its place was filled anew. */
    restarts: p.integer(),
    draining: p.boolean(),
    createdMs: p.bigint('number'),
  },
});
export type ReplicaRow = InferEntity<typeof ReplicaEntity>;

export const balancerEntities = [
  DeploymentEntity,
  DeploymentRevisionEntity,
  ModelRecordEntity,
  ReplicaEntity,
];
