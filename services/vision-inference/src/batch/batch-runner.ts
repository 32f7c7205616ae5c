import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import { LandfallError } from '@landfall/common/errors/errors.ts';
import { BatchState } from '@landfall/proto/landfall/vision/v1/inspection_service_pb.js';
import type { VisionContext } from '../context.ts';
import { BatchEntity, type BatchRow } from '../db/batch-entities.ts';
import { claimBatch, saveBatch } from './batch-store.ts';
import { runBatch } from './run-batch.ts';

/** Longest silence of a process before its batches go to another. */
const LEASE_MS = 10_000;
const SWEEP_MS = 1000;
const AT_ONCE = 2;
const FIRST_REST_MS = 1000;
const LONGEST_REST_MS = 30_000;
/** Failures in a row that may pass by themselves, after which a batch is given up. */
const MOST_FAILURES = 10;
const PASSING = [status.UNAVAILABLE, status.RESOURCE_EXHAUSTED, status.DEADLINE_EXCEEDED];

/** Runs batches from the database, those of a process that has died too; each is one process's at a time. */
export class BatchRunner implements AsyncDisposable {
  readonly #owner = randomUUID();
  readonly #stopping = new AbortController();
  readonly #running = new Map<string, { stop: AbortController; done: Promise<void> }>();
  readonly #resting = new Map<string, { failures: number; untilMs: number }>();
  #wake = Promise.withResolvers<void>();
  #sweeping: Promise<void> | undefined;

  start(context: VisionContext): void {
    this.#sweeping = this.#sweep(context);
  }

  /** Looks for batches at once: one has been written. */
  wake(): void {
    this.#wake.resolve();
  }

  /** Leaves a batch that has been cancelled. */
  interrupt(id: string): void {
    this.#running.get(id)?.stop.abort();
  }

  /** Leaves all batches where they are; the next start goes on with them. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    this.#wake.resolve();
    await this.#sweeping;
    await Promise.all([...this.#running.values()].map(({ done }) => done));
  }

  async #sweep(context: VisionContext): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      this.#wake = Promise.withResolvers<void>();
      await this.#take(context).catch((err) =>
        context.logger.warn({ err }, 'batches could not be looked for'),
      );
      const timer = new AbortController();
      const pause = delay(SWEEP_MS, undefined, { signal: timer.signal }).catch(() => {});
      await Promise.race([pause, this.#wake.promise]);
      timer.abort();
    }
  }

  async #take(context: VisionContext): Promise<void> {
    const nowMs = Date.now();
    const open = { state: BatchState.RUNNING, $or: [{ owner: '' }, { leaseMs: { $lt: nowMs } }] };
    const limit = AT_ONCE + this.#resting.size;
    const rows = await context.database.read((em) =>
      em.find(BatchEntity, open, { fields: ['id'], orderBy: { id: 'asc' }, limit }),
    );
    for (const { id } of rows) {
      const rests = (this.#resting.get(id)?.untilMs ?? 0) > nowMs;
      if (rests || this.#running.has(id) || this.#running.size >= AT_ONCE) continue;
      if (this.#stopping.signal.aborted) return;
      const row = await claimBatch(context.database, id, this.#owner, LEASE_MS);
      if (!row) continue;
      const stop = new AbortController();
      const entry = { stop, done: Promise.resolve() };
      this.#running.set(id, entry);
      entry.done = this.#run(context, row, stop).finally(() => {
        this.#running.delete(id);
        this.wake();
      });
    }
  }

  async #run(context: VisionContext, row: BatchRow, stop: AbortController): Promise<void> {
    const { id } = row;
    const signal = AbortSignal.any([this.#stopping.signal, stop.signal]);
    const save = async (change: Partial<BatchRow>) => {
      const mine = await saveBatch(context.database, id, this.#owner, change);
      context.changes.touch(id);
      return mine;
    };
    const renewing = setInterval(() => {
      save({ leaseMs: Date.now() + LEASE_MS }).then(
        (mine) => mine || stop.abort(),
        (err) => context.logger.warn({ err, batch_id: id }, 'a lease could not be renewed'),
      );
    }, LEASE_MS / 3);
    try {
      await runBatch(context, row, signal, save);
      await save({ owner: '', leaseMs: 0, endedMs: Date.now(), state: BatchState.SUCCEEDED });
      this.#resting.delete(id);
    } catch (error) {
      await this.#failed(context, row, signal, error, save).catch((err) =>
        // The lease runs out by itself, and the batch is taken up again.
        context.logger.warn({ err, batch_id: id }, 'the end of a batch could not be written'),
      );
    } finally {
      clearInterval(renewing);
    }
  }

  async #failed(
    { logger }: VisionContext,
    { id }: BatchRow,
    signal: AbortSignal,
    error: unknown,
    save: (change: Partial<BatchRow>) => Promise<boolean>,
  ): Promise<void> {
    const givenBack = { owner: '', leaseMs: 0 };
    if (signal.aborted) {
      await save(givenBack);
      return;
    }
    const failures = (this.#resting.get(id)?.failures ?? 0) + 1;
    const passes = error instanceof LandfallError && PASSING.includes(error.code);
    if (passes && failures < MOST_FAILURES) {
      const restMs = Math.min(FIRST_REST_MS * 2 ** (failures - 1), LONGEST_REST_MS);
      this.#resting.set(id, { failures, untilMs: Date.now() + restMs });
      logger.warn({ err: error, batch_id: id, retry_ms: restMs }, 'a batch is taken up again');
      await save(givenBack);
      return;
    }
    logger.warn({ err: error, batch_id: id }, 'a batch has failed');
    const failure = error instanceof LandfallError ? error.message : 'an internal error; see the log';
    await save({ ...givenBack, failure, state: BatchState.FAILED, endedMs: Date.now() });
    this.#resting.delete(id);
  }
}
