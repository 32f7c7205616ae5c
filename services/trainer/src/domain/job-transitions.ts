import { create } from '@bufbuild/protobuf';
import type { EntityManager } from '@landfall/common/db/database.ts';
import { announce } from '@landfall/common/events/outbox.ts';
import { JobFinishedSchema } from '@landfall/proto/landfall/event/v1/events_pb.js';
import { GetJobRequestSchema } from '@landfall/proto/landfall/trainer/v1/trainer_service_pb.js';
import { LockMode } from '@mikro-orm/core';
import { v7 as uuidv7 } from 'uuid';
import { JobEntity, type JobRow } from '../db/entities.ts';
import { jobHasEnded, jobNotFound, staleAttempt } from '../errors.ts';
import { hasEnded } from './job-reply.ts';
import { QUEUE } from './queue.ts';

/** Attempts in a row that may end without getting further before the job is given up. */
const MAX_IDLE_ATTEMPTS = 25;

/**
 * A new job and its place in the queue, in the caller's transaction.
 * @param outcome what is known of it already, such as estimates
 */
export async function createJob(
  em: EntityManager,
  tenant: string,
  spec: string,
  outcome = '',
): Promise<JobRow> {
  const row = em.create(JobEntity, {
    id: uuidv7(),
    tenant,
    state: 'queued',
    spec,
    progress: '',
    cancelRequested: false,
    failure: '',
    outputVersion: '',
    baseResult: '',
    tunedResult: '',
    outcome,
    attemptId: '',
    attempts: 0,
    idleAttempts: 0,
    furthest: 0,
    createdMs: Date.now(),
    startedMs: null,
    trainedMs: null,
    endedMs: null,
    revision: 1,
  });
  await em.persist(row).flush();
  const payload = create(GetJobRequestSchema, { id: row.id });
  await announce(em, 'trainer', { subject: QUEUE.subject, schema: GetJobRequestSchema, payload });
  return row;
}

/** The tenant's job. Throws NOT_FOUND, for another tenant's too. */
export async function findJob(em: EntityManager, tenant: string, id: string): Promise<JobRow> {
  const row = await em.findOne(JobEntity, { id, tenant });
  if (!row) throw jobNotFound(id);
  return row;
}

/** The same, held until the transaction ends. Without a tenant for workers, who serve all of them. */
export async function lockJob(em: EntityManager, id: string, tenant?: string): Promise<JobRow> {
  const where = tenant === undefined ? { id } : { id, tenant };
  const row = await em.findOne(JobEntity, where, { lockMode: LockMode.PESSIMISTIC_WRITE });
  if (!row) throw jobNotFound(id);
  return row;
}

/** Checks that an attempt still has its job. */
export function checkAttempt(row: JobRow, attemptId: string): void {
  if (row.attemptId !== attemptId) throw staleAttempt(row.id);
}

/**
 * Gives a job to an attempt; whichever asks last has it, since the queue hands a job on only when its worker has
 * gone silent. A job that keeps ending its workers is failed here.
 *
 * @throws LandfallError FAILED_PRECONDITION when the job has ended
 */
export async function startAttempt(em: EntityManager, row: JobRow, attemptId: string): Promise<void> {
  if (hasEnded(row.state)) throw jobHasEnded(row.id, row.state);
  if (row.attemptId === attemptId) return;
  row.idleAttempts = row.attempts === 0 ? 0 : row.idleAttempts + 1;
  if (row.idleAttempts >= MAX_IDLE_ATTEMPTS) {
    const failure = `${row.idleAttempts} workers in a row ended at the same place; see their logs`;
    await endJob(em, row, 'failed', failure);
    return;
  }
  row.attemptId = attemptId;
  row.attempts++;
  row.startedMs ??= Date.now();
  row.state = 'running';
  changed(row);
}

/** Notes how far an attempt has come, so that attempts that get nowhere can be told. */
export function noteProgress(row: JobRow, stage: number, step: number): void {
  const place = stage * 1e9 + step;
  if (place <= row.furthest) return;
  row.furthest = place;
  row.idleAttempts = 0;
}

/** Asks for a job's end: at once while it waits, else by the worker after its step in hand. */
export async function cancelJob(em: EntityManager, row: JobRow): Promise<void> {
  if (hasEnded(row.state) || row.cancelRequested) return;
  row.cancelRequested = true;
  if (row.state === 'queued') await endJob(em, row, 'cancelled', '');
  else changed(row);
}

/** Ends a job and announces it, in the caller's transaction. */
export async function endJob(
  em: EntityManager,
  row: JobRow,
  state: 'succeeded' | 'failed' | 'cancelled',
  failure: string,
): Promise<void> {
  row.state = state;
  row.failure = failure;
  row.endedMs = Date.now();
  changed(row);
  const payload = create(JobFinishedSchema, {
    tenant: row.tenant,
    jobId: row.id,
    state,
    outputVersion: state === 'succeeded' ? row.outputVersion : '',
    failure,
  });
  const subject = 'landfall.trainer.job.finished.v1';
  await announce(em, 'trainer', { subject, schema: JobFinishedSchema, payload });
}

/** Everyone who watches the job sees a newer revision. */
export function changed(row: JobRow): void {
  row.revision++;
}
