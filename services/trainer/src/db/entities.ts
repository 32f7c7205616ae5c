import { defineEntity, type InferEntity, p } from '@mikro-orm/core';

/** Where a job is, as stored and as told in events. */
export type JobStateName = 'queued' | 'running' | 'succeeded' | 'failed' | 'cancelled';

/** A training job of one tenant. Messages of the contract are kept as their ProtoJSON. */
export const JobEntity = defineEntity({
  name: 'Job',
  tableName: 'job',
  properties: {
    /** UUIDv7, so that its order is the order of creation. */
    id: p.text().primary(),
    tenant: p.text(),
    state: p.text().$type<JobStateName>(),
    /** JobSpec, references resolved, defaults filled in. */
    spec: p.text(),
    /** Progress as last reported; empty before the first attempt. */
    progress: p.text(),
    /** Asked for by the caller; the worker hears of it with its next report. */
    cancelRequested: p.boolean(),
    failure: p.text(),
    outputVersion: p.text(),
    /** EvaluationResult without rows; empty where not measured. */
    baseResult: p.text(),
    tunedResult: p.text(),
    /** Of a Job, what it found out beside scores: safety, transfer, estimates, warnings. Empty where nothing yet. */
    outcome: p.text(),
    /** The attempt that has the job: an older one is refused. */
    attemptId: p.text(),
    attempts: p.integer(),
    /** Attempts in a row that got no further; too many end the job. */
    idleAttempts: p.integer(),
    /** How far the furthest attempt got, to tell whether one got further: stage * 1e9 + step. */
    furthest: p.bigint('number'),
    createdMs: p.bigint('number'),
    startedMs: p.bigint('number').nullable(),
    trainedMs: p.bigint('number').nullable(),
    endedMs: p.bigint('number').nullable(),
    revision: p.bigint('number'),
  },
});
export type JobRow = InferEntity<typeof JobEntity>;

/** What is kept by step. */
export type SeriesName = 'loss' | 'learning_rate' | 'evaluation_loss';
/** Which model answered, or which set it was asked. */
export type AnswerSide = 'base' | 'tuned' | 'safety';

/** A point of one of a job's series. */
export const PointEntity = defineEntity({
  name: 'Point',
  tableName: 'job_point',
  properties: {
    jobId: p.text().primary(),
    series: p.text().$type<SeriesName>().primary(),
    step: p.integer().primary(),
    epoch: p.float(),
    value: p.float(),
  },
});

/** A row that a model answered for a job's evaluation. */
export const AnswerEntity = defineEntity({
  name: 'Answer',
  tableName: 'job_row',
  properties: {
    jobId: p.text().primary(),
    side: p.text().$type<AnswerSide>().primary(),
    /** From 0. */
    row: p.integer().primary(),
    question: p.text(),
    reference: p.text(),
    output: p.text(),
    bleu: p.float(),
    /** EvaluationRow, its other measures; empty where there are none. */
    detail: p.text(),
  },
});

export const trainerEntities = [JobEntity, PointEntity, AnswerEntity];
