import { defineEntity, type InferEntity, p } from '@mikro-orm/core';

/** An immutable version of a test set. */
export const TestSetEntity = defineEntity({
  name: 'TestSet',
  tableName: 'test_set',
  properties: {
    tenant: p.text().primary(),
    name: p.text().primary(),
    version: p.text().primary(),
    /** Grows with each version of a name: SemVer has no order that a database knows. */
    number: p.integer(),
    description: p.text(),
    digest: p.text(),
    rows: p.integer(),
    /** Rows by tag, as JSON. */
    tags: p.text(),
    source: p.text(),
    author: p.text(),
    createdMs: p.bigint('number'),
  },
});
export type TestSetRecord = InferEntity<typeof TestSetEntity>;

/** A row of a test set; `content` is a TestSetRow as ProtoJSON. */
export const TestSetRowEntity = defineEntity({
  name: 'TestSetRow',
  tableName: 'test_set_row',
  properties: {
    tenant: p.text().primary(),
    name: p.text().primary(),
    version: p.text().primary(),
    row: p.integer().primary(),
    content: p.text(),
  },
});

export type JobKind = 'evaluation' | 'optimization';
export type JobStateName = 'queued' | 'running' | 'succeeded' | 'failed' | 'cancelled';

/** An evaluation or an optimisation. */
export const JobEntity = defineEntity({
  name: 'PromptJob',
  tableName: 'prompt_job',
  properties: {
    /** UUIDv7, so that its order is the order of creation. */
    id: p.text().primary(),
    tenant: p.text(),
    kind: p.text().$type<JobKind>(),
    /** Prompt and version, which lists are filtered by. */
    name: p.text(),
    version: p.text(),
    state: p.text().$type<JobStateName>(),
    /** Evaluation or Optimization as ProtoJSON, without what has a column. */
    content: p.text(),
    /** Of an evaluation that has ended: what gates look up. */
    testSet: p.text(),
    testSetDigest: p.text(),
    author: p.text(),
    failure: p.text(),
    /** Process that works on it; another takes it over when the lease has run out. */
    owner: p.text(),
    leaseMs: p.bigint('number'),
    createdMs: p.bigint('number'),
    startedMs: p.bigint('number').nullable(),
    endedMs: p.bigint('number').nullable(),
    revision: p.bigint('number'),
  },
});
export type JobRow = InferEntity<typeof JobEntity>;

/** One answer of an evaluation; `content` is an EvaluationRow as ProtoJSON, without the row of the set. */
export const EvaluationRowEntity = defineEntity({
  name: 'EvaluationRow',
  tableName: 'evaluation_row',
  properties: {
    jobId: p.text().primary(),
    /** Place of the deployment among the evaluation's. */
    place: p.integer().primary(),
    row: p.integer().primary(),
    content: p.text(),
  },
});

/** One version that an optimisation has tried; `content` is an OptimizationTry as ProtoJSON. */
export const OptimizationTryEntity = defineEntity({
  name: 'OptimizationTry',
  tableName: 'optimization_try',
  properties: {
    jobId: p.text().primary(),
    number: p.integer().primary(),
    content: p.text(),
  },
});

/** What a model has answered to an optimisation, so that it is not asked again after a restart. */
export const OptimizationAnswerEntity = defineEntity({
  name: 'OptimizationAnswer',
  tableName: 'optimization_answer',
  properties: {
    jobId: p.text().primary(),
    /** What was asked: digest and row, or round and number of a rewriting. */
    question: p.text().primary(),
    /** JSON. */
    content: p.text(),
  },
});

/** What a version must have measured before it may take a label; `gates` is a list of EvaluationGate as JSON. */
export const LabelGateEntity = defineEntity({
  name: 'LabelGate',
  tableName: 'label_gate',
  properties: {
    tenant: p.text().primary(),
    name: p.text().primary(),
    label: p.text().primary(),
    gates: p.text(),
  },
});

/** A drift watch of a label. */
export const DriftWatchEntity = defineEntity({
  name: 'DriftWatch',
  tableName: 'drift_watch',
  properties: {
    tenant: p.text().primary(),
    name: p.text().primary(),
    label: p.text().primary(),
    /** DriftWatch as ProtoJSON, with its findings. */
    watch: p.text(),
    /** The version that is watched; '' while nothing holds the label. */
    version: p.text(),
    author: p.text(),
    sinceMs: p.bigint('number'),
    /** When a drift was found. */
    foundMs: p.bigint('number').nullable(),
    revision: p.bigint('number'),
  },
});
export type DriftWatchRow = InferEntity<typeof DriftWatchEntity>;

export const evaluationEntities = [
  TestSetEntity,
  TestSetRowEntity,
  JobEntity,
  EvaluationRowEntity,
  OptimizationTryEntity,
  OptimizationAnswerEntity,
  LabelGateEntity,
  DriftWatchEntity,
];
