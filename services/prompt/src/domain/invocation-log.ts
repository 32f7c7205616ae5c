import { setTimeout as delay } from 'node:timers/promises';
import { create, fromJsonString, toJsonString } from '@bufbuild/protobuf';
import type { Database, EntityManager } from '@landfall/common/db/database.ts';
import { LandfallError, resourceExhausted, unavailable } from '@landfall/common/errors/errors.ts';
import type { Logger } from '@landfall/common/log/logger.ts';
import {
  type Invocation,
  InvocationSchema as InvocationMessage,
  LogContent,
} from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';
import { InvocationSchema } from '../db/entities.ts';
import { keptEntry } from './kept-entry.ts';

/** An invocation that has ended, well or not. */
export interface LogRecord {
  tenant: string;
  /** The client's token; empty for none. */
  requestId: string;
  requestDigest: string;
  entry: Invocation;
  createdMs: number;
  /** What is kept of the entry; all of it where it isn't given. */
  content?: LogContent;
  /** For experiments, see `subjectKey`; not kept. */
  subjectKey?: string;
}

export interface InvocationLogOptions {
  database: Database;
  logger: Logger;
  /** Learns from the entries that are new, in the transaction that keeps them. What it throws costs only its own work. */
  observe?: (em: EntityManager, fresh: readonly LogRecord[]) => Promise<void>;
  /** Invocations that run or wait to be written, at most (default 10,000). */
  limit?: number;
}

const LIMIT = 10_000;
/** A batch gathers for this long: the most that a crash adds to what is lost. */
const LINGER_MS = 20;
const BATCH = 200;
const LONGEST_BACKOFF_MS = 2000;

/**
 * The log's writer: who has an entry hands it over and goes on; batches are committed behind, one transaction each.
 *
 * A crash loses the entries that have ended and are not committed: those of the last 20 ms and of the commit that runs.
 * A database that is away loses none: entries wait, up to `limit`, and new invocations are refused beyond that.
 */
export class InvocationLog {
  readonly #options: InvocationLogOptions;
  readonly #waiting: LogRecord[] = [];
  /** Entries that are not committed yet, by token. */
  readonly #byToken = new Map<string, LogRecord>();
  #admitted = 0;
  #working: Promise<void> | undefined;
  /** Set while whoever waits for the log should not wait for more to gather. */
  #hurry = Promise.withResolvers<void>();
  #closing = false;
  #attempt = Promise.withResolvers<void>();

  constructor(options: InvocationLogOptions) {
    this.#options = options;
  }

  /**
   * Takes a place for an invocation that begins; disposing of it gives it back.
   * @throws LandfallError RESOURCE_EXHAUSTED while the log can't keep up
   */
  admit(): Disposable {
    const { limit = LIMIT } = this.#options;
    if (this.#admitted + this.#waiting.length >= limit) {
      throw resourceExhausted(`${limit} invocations run or wait to be logged; come again`, {
        reason: 'LOG_FULL',
        retryAfterMs: 1000,
      });
    }
    this.#admitted++;
    return { [Symbol.dispose]: () => void this.#admitted-- };
  }

  /** Hands an entry over; returns at once. */
  add(record: LogRecord): void {
    this.#waiting.push(record);
    // The first of two with one token keeps it, here as in the database.
    const key = tokenKey(record.tenant, record.requestId);
    if (keepsToken(record) && !this.#byToken.has(key)) this.#byToken.set(key, record);
    this.#working ??= this.#work();
  }

  /** An entry with this token that is on its way into the database. */
  pending(tenant: string, requestId: string): LogRecord | undefined {
    return this.#byToken.get(tokenKey(tenant, requestId));
  }

  /**
   * Resolves when all that was added before is committed.
   * @throws LandfallError UNAVAILABLE when an attempt fails meanwhile
   */
  async settled(): Promise<void> {
    const until = this.#waiting.at(-1);
    while (until && this.#waiting.includes(until)) {
      this.#hurry.resolve();
      await this.#attempt.promise;
    }
  }

  /** Writes what waits; gives up, and says what is lost, when the database stays away for `graceMs`. */
  async close(graceMs: number): Promise<void> {
    this.#closing = true;
    this.#hurry.resolve();
    const timer = new AbortController();
    const late = delay(graceMs, undefined, { signal: timer.signal }).catch(() => {});
    await Promise.race([this.#working, late]);
    timer.abort();
    if (this.#waiting.length > 0) {
      this.#options.logger.error(
        { lost: this.#waiting.length },
        'invocations could not be logged before the end: the database is away',
      );
      this.#waiting.length = 0;
    }
  }

  async #work(): Promise<void> {
    const { logger } = this.#options;
    let backoffMs = 50;
    while (this.#waiting.length > 0) {
      if (!this.#closing && this.#waiting.length < BATCH) await this.#pause(LINGER_MS);
      const batch = this.#waiting.slice(0, BATCH);
      const attempt = this.#attempt;
      attempt.promise.catch(() => {});
      try {
        await this.#write(batch);
        this.#done(batch);
        backoffMs = 50;
        this.#attempt = Promise.withResolvers();
        attempt.resolve();
      } catch (error) {
        logger.warn(
          { err: error, waiting: this.#waiting.length, retry_ms: backoffMs },
          'the log is not written',
        );
        this.#attempt = Promise.withResolvers();
        attempt.reject(unavailable('the log can not be written now; try again', { cause: error }));
        await delay(backoffMs);
        backoffMs = Math.min(backoffMs * 2, LONGEST_BACKOFF_MS);
      }
    }
    this.#working = undefined;
  }

  /** Lets a batch gather, unless somebody waits for it. */
  async #pause(ms: number): Promise<void> {
    const timer = new AbortController();
    const gathered = delay(ms, undefined, { signal: timer.signal }).catch(() => {});
    await Promise.race([gathered, this.#hurry.promise]);
    timer.abort();
    this.#hurry = Promise.withResolvers();
  }

  #done(batch: readonly LogRecord[]): void {
    this.#waiting.splice(0, batch.length);
    for (const record of batch) {
      const key = tokenKey(record.tenant, record.requestId);
      if (this.#byToken.get(key) === record) this.#byToken.delete(key);
    }
  }

  /** One transaction; where the rows themselves are refused, row by row, so that one that no table takes stops no other. */
  async #write(batch: readonly LogRecord[]): Promise<void> {
    try {
      await this.#commit(batch);
    } catch (error) {
      if (error instanceof LandfallError) throw error;
      for (const record of batch) {
        await this.#commit([record]).catch((cause: unknown) => {
          if (cause instanceof LandfallError) throw cause;
          this.#options.logger.error(
            { err: cause, invocation: record.entry.id },
            'an entry of the log is lost',
          );
        });
      }
    }
  }

  async #commit(batch: readonly LogRecord[]): Promise<void> {
    await this.#options.database.transaction(async (em) => {
      // A commit whose answer got lost is tried again.
      const ids = batch.map(({ entry }) => entry.id);
      const there = new Set(
        (await em.find(InvocationSchema, { id: { $in: ids } }, { fields: ['id'] })).map(({ id }) => id),
      );
      const fresh = batch.filter(({ entry }) => !there.has(entry.id));
      if (fresh.length === 0) return;
      const taken = await takenTokens(em, fresh);
      const rows = fresh.map((record) => rowOf(record, taken));
      await em.insertMany(InvocationSchema, rows);
      await this.#observe(em, fresh);
    });
  }

  async #observe(em: EntityManager, fresh: readonly LogRecord[]): Promise<void> {
    const { observe, logger } = this.#options;
    if (!observe) return;
    try {
      // A savepoint: entries are kept whatever becomes of what is learnt from them.
      await em.transactional((inner) => observe(inner as EntityManager, fresh));
    } catch (cause) {
      if (cause instanceof LandfallError) throw cause;
      logger.error({ err: cause, entries: fresh.length }, 'nothing was learnt from entries of the log');
    }
  }
}

const tokenKey = (tenant: string, requestId: string): string => `${tenant} ${requestId}`;

/** A failed call leaves its token free, so that it can be tried again. */
const keepsToken = ({ requestId, entry }: LogRecord): boolean => requestId !== '' && entry.error === '';

async function takenTokens(em: EntityManager, batch: readonly LogRecord[]): Promise<Set<string>> {
  const wanted = batch.filter(keepsToken).map(({ tenant, requestId }) => ({ tenant, requestId }));
  if (wanted.length === 0) return new Set();
  const rows = await em.find(InvocationSchema, { $or: wanted }, { fields: ['tenant', 'requestId'] });
  return new Set(rows.map(({ tenant, requestId }) => tokenKey(tenant, requestId!)));
}

/** Of calls with one token at the same time the first to end keeps it. */
function rowOf(record: LogRecord, taken: Set<string>) {
  const { tenant, requestId, requestDigest, entry, createdMs } = record;
  const key = tokenKey(tenant, requestId);
  const keeps = keepsToken(record) && !taken.has(key);
  if (keeps) taken.add(key);
  return {
    id: entry.id,
    tenant,
    name: entry.name,
    version: entry.version,
    deployment: entry.deployment,
    caller: entry.caller,
    error: entry.error,
    failed: entry.error !== '',
    requestId: keeps ? requestId : null,
    requestDigest,
    entry: toJsonString(InvocationMessage, create(InvocationMessage, { ...keptOf(record), scores: [] })),
    createdMs,
  };
}

/** The entry as the log's policy lets it be kept. */
export const keptOf = ({ entry, content = LogContent.ALL }: LogRecord): Invocation =>
  keptEntry(entry, content);

export const readEntry = (stored: string): Invocation => fromJsonString(InvocationMessage, stored);
