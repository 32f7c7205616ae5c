import { randomUUID } from 'node:crypto';
import type { Database } from '@landfall/common/db/database.ts';
import type { Logger } from '@landfall/common/log/logger.ts';
import { LRUCache } from 'lru-cache';
import {
  type PriceRow,
  PriceSchema,
  type QuotaRow,
  QuotaSchema,
  QuotaUseSchema,
} from '../db/quota-entities.ts';
import { QuotaAlerts } from './quota-alerts.ts';
import { minuteOf, type Period, QuotaCounter } from './quota-counter.ts';

/** How often what was counted is written, and what others have counted is read. */
const SYNC_MS = 500;
/** A quota that calls have asked for so lately is kept up with. */
const IN_USE_MS = 10_000;
/** A gateway that has not written for so long has no requests in flight any more. */
const GONE_MS = 10_000;
const MINUTE_KEPT_MS = 600_000;

/** Quotas and prices of one tenant. */
export interface TenantBook {
  counters: readonly QuotaCounter[];
  prices: ReadonlyMap<string, PriceRow>;
}

/** Counts what is used of quotas, with the other gateways of the same database; no call waits for it but the first. */
export class QuotaBook {
  /** Of this process: one that starts again begins rows of its own, beside those it left. */
  readonly #gateway = randomUUID();
  readonly #database: Database;
  readonly #logger: Logger;
  readonly #now: () => number;
  readonly #alerts: QuotaAlerts;
  readonly #loading = new Map<string, Promise<TenantBook>>();
  readonly #known = new LRUCache<string, TenantBook>({ max: 10_000, ttl: 2000 });
  readonly #counters = new Map<string, QuotaCounter>();
  #sweptMs = 0;
  #timer: NodeJS.Timeout | undefined;
  #syncing: Promise<void> = Promise.resolve();

  constructor(database: Database, logger: Logger, now: () => number = Date.now) {
    this.#database = database;
    this.#logger = logger;
    this.#now = now;
    this.#alerts = new QuotaAlerts(database);
  }

  start(): void {
    this.#timer = setInterval(() => void this.sync(), SYNC_MS).unref();
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.sync();
  }

  get now(): number {
    return this.#now();
  }

  /** Without a wait where it is known. */
  of(tenant: string): TenantBook | Promise<TenantBook> {
    const known = this.#known.get(tenant);
    if (known) return known;
    const running = this.#loading.get(tenant);
    if (running) return running;
    const loading = this.#load(tenant).then(
      (book) => {
        // A change in the meantime has made it old: whoever asks next loads again.
        if (this.#ended(tenant, loading)) this.#known.set(tenant, book);
        return book;
      },
      (cause) => {
        this.#ended(tenant, loading);
        throw cause;
      },
    );
    this.#loading.set(tenant, loading);
    return loading;
  }

  /** Makes a change felt at once here, and within two seconds in other gateways. */
  forget(tenant: string): void {
    this.#known.delete(tenant);
    this.#loading.delete(tenant);
  }

  /** Resolves when the database has what was counted here, and what others have counted is known here. */
  sync(): Promise<void> {
    this.#syncing = this.#syncing.then(async () => {
      try {
        await this.#read(await this.#write());
      } catch (cause) {
        this.#logger.warn({ err: cause }, 'the use of quotas could not be told to the other gateways');
      }
    });
    return this.#syncing;
  }

  /** @returns whether it was what is loading, and no change came in the meantime */
  #ended(tenant: string, loading: Promise<TenantBook>): boolean {
    return this.#loading.get(tenant) === loading && this.#loading.delete(tenant);
  }

  async #load(tenant: string): Promise<TenantBook> {
    const [quotas, prices] = await this.#database.read(async (em) => [
      await em.find(QuotaSchema, { tenant }),
      await em.find(PriceSchema, { tenant }),
    ]);
    const counters = quotas.map((quota) => this.#counter(quota));
    // What was counted before this process, and elsewhere, counts from the first call on.
    await this.#read(counters);
    return { counters, prices: new Map(prices.map((price) => [price.model, price])) };
  }

  #counter(quota: QuotaRow): QuotaCounter {
    const known = this.#counters.get(quota.id);
    if (known) {
      known.quota = quota;
      return known;
    }
    const made = new QuotaCounter(quota);
    this.#counters.set(quota.id, made);
    return made;
  }

  /** @returns what is in use */
  async #write(): Promise<QuotaCounter[]> {
    const now = this.#now();
    const known = [...this.#counters.values()];
    const changed = known.filter(({ dirty, inFlight }) => dirty || inFlight > 0);
    const rows = changed.flatMap((counter) => {
      counter.dirty = false;
      const { quota, inFlight, minute, month } = counter;
      const common = { quotaId: quota.id, gateway: this.#gateway, inFlight, updatedMs: now };
      return [minute, month].map(({ name, own }) => ({ ...common, ...own, period: name }));
    });
    if (rows.length > 0) await this.#database.read((em) => em.upsertMany(QuotaUseSchema, rows));
    if (now - this.#sweptMs > MINUTE_KEPT_MS) {
      this.#sweptMs = now;
      // Months stay: they are what is billed.
      const old = { period: { $lt: minuteOf(now - MINUTE_KEPT_MS), $like: '%T%' } };
      await this.#database.read((em) => em.nativeDelete(QuotaUseSchema, old));
    }
    return known.filter(({ askedMs, inFlight }) => inFlight > 0 || askedMs > now - IN_USE_MS);
  }

  async #read(counters: readonly QuotaCounter[]): Promise<void> {
    if (counters.length === 0) return;
    const now = this.#now();
    for (const counter of counters) counter.turn(now);
    const periods = [counters[0]!.minute.name, counters[0]!.month.name];
    const where = {
      quotaId: { $in: counters.map(({ quota }) => quota.id) },
      period: { $in: periods },
      gateway: { $ne: this.#gateway },
    };
    const rows = await this.#database.read((em) => em.find(QuotaUseSchema, where));
    const byQuota = Map.groupBy(rows, ({ quotaId }) => quotaId);
    for (const counter of counters) {
      const mine = byQuota.get(counter.quota.id) ?? [];
      for (const period of [counter.minute, counter.month]) addUp(period, mine);
      const alive = mine.filter(
        ({ period, updatedMs }) => period === periods[1] && updatedMs > now - GONE_MS,
      );
      counter.othersInFlight = alive.reduce((sum, { inFlight }) => sum + inFlight, 0);
      await this.#alerts.check(counter);
    }
  }
}

function addUp(
  period: Period,
  rows: readonly { period: string; requests: number; tokens: number; micros: number }[],
): void {
  const others = { requests: 0, tokens: 0, micros: 0 };
  for (const row of rows) {
    if (row.period !== period.name) continue;
    others.requests += row.requests;
    others.tokens += row.tokens;
    others.micros += row.micros;
  }
  period.others = others;
}
