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
    /** What is being brought up to take over; empty for none. */
    nextModel: p.text(),
    nextBase: p.text(),
    replicas: p.integer(),
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

/** A replica that was started, or is about to be. The row comes before the process and goes after it. */
export const ReplicaEntity = defineEntity({
  name: 'Replica',
  tableName: 'replica',
  properties: {
    /** UUID, also in the process's environment. */
    id: p.text().primary(),
    tenant: p.text(),
    base: p.text(),
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

export const balancerEntities = [DeploymentEntity, ReplicaEntity];
