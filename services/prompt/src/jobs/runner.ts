import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { EntityManager } from '@landfall/common/db/database.ts';
import { LandfallError } from '@landfall/common/errors/errors.ts';
import { backgroundCall } from '@landfall/common/rpc/background-call.ts';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { LockMode } from '@mikro-orm/core';
import type { PromptContext } from '../context.ts';
import { JobEntity, type JobKind, type JobRow } from '../db/evaluation-entities.ts';
import {
  claimJob,
  endJob,
  hasEnded,
  type JobEnd,
  releaseLease,
  renewLease,
  saveContent,
} from './job-store.ts';
import { isPassing } from './patience.ts';

/** A job in hand. */
export interface JobRun {
  /** As it was when it was taken. */
  readonly row: Readonly<JobRow>;
  /** Whose calls it makes: its author's, with an invoker's role. Ends with the job. */
  readonly call: CallContext;
  /** Keeps what it has come to so far, for watchers and for whoever takes it up after a crash. */
  save(content: string): Promise<void>;
}

/** What a job that has ended well leaves. */
export interface JobResult {
  content: string;
  version?: string;
  metrics: Record<string, number>;
  /** What else is written in the transaction that ends the job, and what that changes about its end. */
  also?: (em: EntityManager) => Promise<Partial<Pick<JobResult, 'content' | 'version'>>>;
}

/** Does a job, from where an earlier attempt left it. @throws what ends it as failed, or lets it be tried again */
export type JobHandler = (context: PromptContext, run: JobRun) => Promise<JobResult>;

/** Longest silence of a process before its jobs go to another. */
const LEASE_MS = 6000;
const SWEEP_MS = 1000;
const AT_ONCE = 4;
const FIRST_REST_MS = 1000;
const LONGEST_REST_MS = 30_000;
/** Failures in a row that may pass, after which a job is given up. */
const MOST_FAILURES = 10;

/**
 * Runs jobs from the database: those that wait in their order, and those of a process that has died. It holds no truth of
 * its own; several processes may share one database, each job is one's at a time.
 */
export class JobRunner implements AsyncDisposable {
  readonly #handlers: Record<JobKind, JobHandler>;
  readonly #owner = randomUUID();
  readonly #stopping = new AbortController();
  readonly #running = new Map<string, { stop: AbortController; done: Promise<void> }>();
  readonly #resting = new Map<string, { failures: number; untilMs: number }>();
  #wake = Promise.withResolvers<void>();
  #sweeping: Promise<void> | undefined;

  constructor(handlers: Record<JobKind, JobHandler>) {
    this.#handlers = handlers;
  }

  /** Takes up what waits. */
  start(context: PromptContext): void {
    this.#sweeping = this.#sweep(context);
  }

  /** Looks for jobs at once: one has been written. */
  wake(): void {
    this.#wake.resolve();
  }

  /** Leaves a job that has been cancelled. */
  interrupt(id: string): void {
    this.#running.get(id)?.stop.abort();
  }

  /** Leaves all jobs where they are; the next start goes on with them. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    this.#wake.resolve();
    await this.#sweeping;
    await Promise.all([...this.#running.values()].map(({ done }) => done));
  }

  async #sweep(context: PromptContext): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      this.#wake = Promise.withResolvers<void>();
      try {
        await this.#takeJobs(context);
      } catch (error) {
        context.logger.warn({ err: error }, 'jobs could not be looked for');
      }
      const timer = new AbortController();
      const pause = delay(SWEEP_MS, undefined, { signal: timer.signal }).catch(() => {});
      await Promise.race([pause, this.#wake.promise]);
      timer.abort();
    }
  }

  async #takeJobs(context: PromptContext): Promise<void> {
    const { database } = context;
    const nowMs = Date.now();
    const open = { $or: [{ owner: '' }, { leaseMs: { $lt: nowMs } }] };
    const free = AT_ONCE - this.#running.size;
    if (free <= 0) return;
    const rows = await database.read((em) =>
      em.find(
        JobEntity,
        { state: { $in: ['queued', 'running'] }, ...open },
        { fields: ['id'], orderBy: { id: 'asc' }, limit: free + this.#resting.size },
      ),
    );
    for (const { id } of rows) {
      const rests = (this.#resting.get(id)?.untilMs ?? 0) > nowMs;
      if (rests || this.#running.has(id) || this.#running.size >= AT_ONCE || this.#stopping.signal.aborted)
        continue;
      const row = await claimJob(database, id, this.#owner, LEASE_MS);
      if (row) this.#take(context, row);
    }
  }

  #take(context: PromptContext, row: JobRow): void {
    const stop = new AbortController();
    const entry = { stop, done: Promise.resolve() };
    this.#running.set(row.id, entry);
    context.changes.touch(row.id);
    entry.done = this.#run(context, row, stop).finally(() => {
      this.#running.delete(row.id);
      context.changes.touch(row.id);
      this.#wake.resolve();
    });
  }

  async #run(context: PromptContext, row: JobRow, stop: AbortController): Promise<void> {
    const signal = AbortSignal.any([this.#stopping.signal, stop.signal]);
    const { database, logger } = context;
    const renewing = setInterval(() => {
      renewLease(database, row.id, this.#owner, LEASE_MS)
        .then((mine) => mine || stop.abort())
        .catch((error: unknown) =>
          logger.warn({ err: error, job_id: row.id }, 'a lease could not be renewed'),
        );
    }, LEASE_MS / 3);
    try {
      const result = await this.#handlers[row.kind](context, this.#runOf(context, row, stop, signal));
      await this.#end(context, row, { ...result, state: 'succeeded' }, result.also);
      this.#resting.delete(row.id);
    } catch (error) {
      await this.#failed(context, row, signal, error);
    } finally {
      clearInterval(renewing);
    }
  }

  #runOf(context: PromptContext, row: JobRow, stop: AbortController, signal: AbortSignal): JobRun {
    const identity = { subject: row.author, tenant: row.tenant, role: Role.INVOKER };
    return {
      row,
      call: backgroundCall(identity, signal),
      save: async (content) => {
        if (!(await saveContent(context.database, row.id, this.#owner, content))) stop.abort();
        context.changes.touch(row.id);
      },
    };
  }

  async #end(
    { database }: PromptContext,
    { id }: JobRow,
    end: JobEnd,
    also?: JobResult['also'],
  ): Promise<void> {
    await database.transaction(async (em) => {
      const row = await em.findOne(JobEntity, { id }, { lockMode: LockMode.PESSIMISTIC_WRITE });
      // Cancelled, or taken over: what was found out is another's to write.
      if (row?.owner !== this.#owner || hasEnded(row)) return;
      await endJob(em, row, { ...end, ...(await also?.(em)) });
    });
  }

  async #failed(context: PromptContext, row: JobRow, signal: AbortSignal, error: unknown): Promise<void> {
    const { logger, database } = context;
    const about = { err: error, job_id: row.id, kind: row.kind };
    try {
      if (signal.aborted) {
        await releaseLease(database, row.id, this.#owner);
        return;
      }
      const failures = (this.#resting.get(row.id)?.failures ?? 0) + 1;
      if (isPassing(error) && failures < MOST_FAILURES) {
        const restMs = Math.min(FIRST_REST_MS * 2 ** (failures - 1), LONGEST_REST_MS);
        this.#resting.set(row.id, { failures, untilMs: Date.now() + restMs });
        logger.warn({ ...about, retry_ms: restMs }, 'a job is taken up again');
        await releaseLease(database, row.id, this.#owner);
        return;
      }
      logger.warn(about, 'a job has failed');
      const failure =
        error instanceof LandfallError
          ? error.message
          : 'an internal error; see the log of the prompt service';
      await this.#end(context, row, { state: 'failed', failure });
      this.#resting.delete(row.id);
    } catch (why) {
      // The lease runs out by itself, and the job is taken up again.
      logger.warn({ ...about, err: why }, 'the end of a job could not be written');
    }
  }
}
