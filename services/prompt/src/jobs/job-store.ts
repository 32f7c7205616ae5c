import { create } from '@bufbuild/protobuf';
import type { Database, EntityManager } from '@landfall/common/db/database.ts';
import { notFound } from '@landfall/common/errors/errors.ts';
import { announce } from '@landfall/common/events/outbox.ts';
import { EvaluationFinishedSchema } from '@landfall/proto/landfall/event/v1/events_pb.js';
import { JobState } from '@landfall/proto/landfall/prompt/v1/evaluation_pb.js';
import { LockMode } from '@mikro-orm/core';
import { v7 as uuidv7 } from 'uuid';
import { JobEntity, type JobKind, type JobRow, type JobStateName } from '../db/evaluation-entities.ts';

/** A job to be run. */
export interface NewJob {
  tenant: string;
  kind: JobKind;
  name: string;
  version: string;
  content: string;
  testSet: string;
  testSetDigest: string;
  author: string;
}

export const STATES: Record<JobStateName, JobState> = {
  queued: JobState.QUEUED,
  running: JobState.RUNNING,
  succeeded: JobState.SUCCEEDED,
  failed: JobState.FAILED,
  cancelled: JobState.CANCELLED,
};

export const stateName = (state: JobState): JobStateName | undefined =>
  (Object.keys(STATES) as JobStateName[]).find((name) => STATES[name] === state);

export const hasEnded = ({ state }: Pick<JobRow, 'state'>): boolean =>
  state !== 'queued' && state !== 'running';

/** Writes a job, in the caller's transaction; a runner finds it there. */
export async function insertJob(em: EntityManager, job: NewJob): Promise<JobRow> {
  const row = {
    ...job,
    id: uuidv7(),
    state: 'queued' as const,
    failure: '',
    owner: '',
    leaseMs: 0,
    createdMs: Date.now(),
    startedMs: null,
    endedMs: null,
    revision: 1,
  };
  await em.insert(JobEntity, row);
  return row as JobRow;
}

/** A tenant's job of a kind. @throws LandfallError NOT_FOUND */
export async function findJob(em: EntityManager, tenant: string, kind: JobKind, id: string): Promise<JobRow> {
  const row = await em.findOne(JobEntity, { id, tenant, kind }, { refresh: true });
  if (!row) throw notFound(`there is no ${kind} ${id}`, { reason: 'JOB_NOT_FOUND' });
  return row;
}

/** Takes a job that waits, or whose process has been silent for too long. @returns undefined where another was faster */
export async function claimJob(
  database: Database,
  id: string,
  owner: string,
  leaseForMs: number,
): Promise<JobRow | undefined> {
  return database.transaction(async (em) => {
    const row = await em.findOne(JobEntity, { id }, { lockMode: LockMode.PESSIMISTIC_WRITE });
    const nowMs = Date.now();
    if (!row || hasEnded(row) || (row.owner !== '' && row.leaseMs > nowMs)) return undefined;
    Object.assign(row, { owner, leaseMs: nowMs + leaseForMs, state: 'running' });
    row.startedMs ??= nowMs;
    row.revision++;
    await em.flush();
    return row;
  });
}

/** @returns false where the job is not this owner's any more, or has ended */
export async function renewLease(
  database: Database,
  id: string,
  owner: string,
  leaseForMs: number,
): Promise<boolean> {
  const where = { id, owner, state: 'running' as const };
  const changed = await database.read((em) =>
    em.nativeUpdate(JobEntity, where, { leaseMs: Date.now() + leaseForMs }),
  );
  return changed > 0;
}

/** Gives a job back, so that the next one takes it up at once. */
export async function releaseLease(database: Database, id: string, owner: string): Promise<void> {
  await database.read((em) => em.nativeUpdate(JobEntity, { id, owner }, { owner: '', leaseMs: 0 }));
}

/** Keeps what a running job has come to. @returns false where the job is not this owner's any more, or has ended */
export async function saveContent(
  database: Database,
  id: string,
  owner: string,
  content: string,
): Promise<boolean> {
  return database.transaction(async (em) => {
    const row = await em.findOne(JobEntity, { id }, { lockMode: LockMode.PESSIMISTIC_WRITE });
    if (row?.owner !== owner || hasEnded(row)) return false;
    row.content = content;
    row.revision++;
    await em.flush();
    return true;
  });
}

/** How a job ends. */
export interface JobEnd {
  state: 'succeeded' | 'failed' | 'cancelled';
  failure?: string;
  content?: string;
  /** For the event. */
  version?: string;
  metrics?: Record<string, number>;
}

/** Ends a job that runs, with its event, in the caller's transaction. @param row locked */
export async function endJob(em: EntityManager, row: JobRow, end: JobEnd): Promise<void> {
  const { state, failure = '', content = row.content, version = row.version, metrics = {} } = end;
  Object.assign(row, { state, failure, content, owner: '', leaseMs: 0, endedMs: Date.now() });
  row.revision++;
  await em.flush();
  const { tenant, id, kind, name } = row;
  await announce(em, 'prompt', {
    subject: 'landfall.prompt.evaluation.finished.v1',
    schema: EvaluationFinishedSchema,
    payload: create(EvaluationFinishedSchema, { tenant, id, kind, name, version, state, metrics }),
  });
}
