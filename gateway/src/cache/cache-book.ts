import { randomUUID } from 'node:crypto';
import { create } from '@bufbuild/protobuf';
import type { Database } from '@landfall/common/db/database.ts';
import { Sweeper } from '@landfall/common/lifecycle/sweeper.ts';
import type { Logger } from '@landfall/common/log/logger.ts';
import { type CacheStatistics, CacheStatisticsSchema } from '@landfall/proto/landfall/gateway/v1/cache_pb.js';
import { LRUCache } from 'lru-cache';
import { tenantSecret } from './cache-key.ts';
import {
  type Bounds,
  CacheStore,
  INVALIDATIONS_KEPT_MS,
  type IndexRow,
  type NewAnswer,
} from './cache-store.ts';
import { EntryBox } from './entry-box.ts';
import { answerBytes, type KeptAnswer, readAnswer } from './kept-answer.ts';
import { type Question, questionBytes, readQuestion } from './question.ts';
import { type IndexedAnswer, TenantCache } from './tenant-cache.ts';
import { noUse } from './use-counts.ts';

/** How often it is looked whether other gateways have kept or dropped something. */
const SYNC_MS = 500;
/** A tenant that calls have asked for so lately is kept up with. */
const IN_USE_MS = 10_000;
/** What was not kept up with for so long is asked for before it is used. */
const FRESH_MS = 2000;
/** How long answers wait to be written together. */
const WRITE_MS = 50;
const TOUCH_MS = 5000;
const SWEEP_MS = 60_000;
const MOST_TENANTS = 10_000;
/** What an answer takes beside its text. */
const ROW_BYTES = 512;
const DEFAULTS = { entries: 10_000, bytes: 64 * 1024 * 1024 };

export interface CacheBookOptions {
  database: Database;
  logger: Logger;
  meshKey: Uint8Array;
  /** Most bytes of answers in this process's memory; the others are read from the database. */
  memoryBytes: number;
}

/** What is to be kept. */
export interface Keeping {
  key: string;
  context: string;
  question: Question | undefined;
  asked: string;
  model: string;
  ttlMs: number;
  answer: KeptAnswer;
  /** The last change of the tenant's that was known when the making of the answer began. */
  since: number;
}

/**
 * Answers of all tenants: an index in memory, answers that were given lately, and the database behind, that all gateways
 * share. A request whose answer is nowhere costs no look into the database.
 */
export class CacheBook implements AsyncDisposable {
  /** Of this process: what it counts has rows of its own. */
  readonly #gateway = randomUUID();
  readonly #store: CacheStore;
  readonly #logger: Logger;
  readonly #meshKey: Uint8Array;
  readonly #box: EntryBox;
  readonly #memory: LRUCache<string, KeptAnswer>;
  readonly #tenants: LRUCache<string, TenantCache>;
  readonly #loading = new Map<string, Promise<TenantCache>>();
  readonly #pending = new Map<string, NewAnswer[]>();
  readonly #sweeper: Sweeper;
  readonly #timer: NodeJS.Timeout;
  #writing: NodeJS.Timeout | undefined;
  #working: Promise<void> = Promise.resolve();
  #touchedMs = 0;

  constructor({ database, logger, meshKey, memoryBytes }: CacheBookOptions) {
    this.#store = new CacheStore(database);
    this.#logger = logger;
    this.#meshKey = meshKey;
    this.#box = new EntryBox(meshKey);
    this.#memory = new LRUCache({ maxSize: memoryBytes, sizeCalculation: ({ bytes }) => bytes });
    this.#tenants = new LRUCache({ max: MOST_TENANTS });
    this.#sweeper = new Sweeper('old answers', SWEEP_MS, () => this.#sweep(), logger);
    this.#timer = setInterval(() => void this.sync(), SYNC_MS).unref();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    await this.#sweeper[Symbol.asyncDispose]();
    await this.sync();
  }

  /** What is known of a tenant's answers. A promise only for the first call in a while. */
  of(tenant: string): TenantCache | Promise<TenantCache> {
    const now = Date.now();
    const known = this.#tenants.get(tenant);
    if (!known || now - known.syncedMs > FRESH_MS) return this.#loadOnce(tenant);
    known.askedMs = now;
    return known;
  }

  /** Tenants that keep answers and were asked for here. */
  get tenants(): TenantCache[] {
    return [...this.#tenants.values()].filter(({ policy }) => policy);
  }

  /** Makes a change felt here at once. */
  async refresh(tenant: string): Promise<void> {
    // One that is under way may have read what was before.
    await this.#loading.get(tenant);
    const known = this.#tenants.get(tenant);
    if (known) await this.#load(known);
  }

  /** The answer behind an entry of the index; undefined where another gateway has dropped it. */
  async read(
    cache: TenantCache,
    { key, id, createdMs, bytes }: IndexedAnswer,
  ): Promise<KeptAnswer | undefined> {
    const place = memoryKey(cache.tenant, key);
    const here = this.#memory.get(place);
    if (here?.id === id) return here;
    const sealed = await this.#store.body(cache.tenant, key, id);
    if (sealed === undefined) {
      cache.delete(key);
      return undefined;
    }
    const parts = await readAnswer(this.#box.open(sealed, `${place}\nbody`));
    const answer = { id, createdMs, parts, bytes };
    this.#memory.set(place, answer);
    return answer;
  }

  /** Keeps an answer: here at once, and in the database with those that come in the same moment. */
  keep(cache: TenantCache, keeping: Keeping): void {
    const { key, context, question, asked, model, ttlMs, answer, since } = keeping;
    const { tenant, policy } = cache;
    if (!policy || cache.isVoid({ asked, model }, since)) return;
    const place = memoryKey(tenant, key);
    const body = this.#box.seal(answerBytes(answer.parts), `${place}\nbody`);
    const compared = question ? this.#box.seal(questionBytes(question), `${place}\nquestion`) : '';
    const bytes = body.length + compared.length + ROW_BYTES;
    const { bytes: most } = boundsOf(policy);
    if (bytes > most || bytes > this.#memory.maxSize) return;
    const { id, createdMs } = answer;
    const expiresMs = createdMs + ttlMs;
    const shared = { key, id, context: question ? context : '', asked, model, bytes, createdMs, expiresMs };
    cache.set({ ...shared, question, revision: since });
    this.#memory.set(place, { ...answer, bytes });
    cache.counts.add('stored');
    const row = { ...shared, tenant, question: compared, body, usedMs: createdMs };
    const pending = this.#pending.get(tenant) ?? [];
    this.#pending.set(tenant, pending);
    pending.push({ row, since });
    this.#writing ??= setTimeout(() => void this.#do(() => this.#write()), WRITE_MS).unref();
  }

  /** Resolves when the database has what is here, and what others have done is known here. */
  sync(): Promise<void> {
    return this.#do(async () => {
      await this.#write();
      await this.#follow();
    });
  }

  /** All that was counted of a tenant, by all gateways. */
  async statistics(tenant: string): Promise<CacheStatistics> {
    await this.sync();
    const { uses, size } = await this.#store.statistics(tenant);
    const sum = noUse();
    for (const use of uses) {
      for (const name of Object.keys(sum) as (keyof typeof sum)[]) sum[name] += use[name];
    }
    const all = { ...sum, ...size };
    const counts = Object.fromEntries(Object.entries(all).map(([name, count]) => [name, BigInt(count)]));
    return create(CacheStatisticsSchema, counts);
  }

  /** One after the other; a failure waits for the next time. */
  #do(work: () => Promise<void>): Promise<void> {
    this.#working = this.#working.then(work).catch((cause) => {
      this.#logger.warn({ err: cause }, 'kept answers could not be told to the other gateways');
    });
    return this.#working;
  }

  async #write(): Promise<void> {
    clearTimeout(this.#writing);
    this.#writing = undefined;
    const pending = [...this.#pending];
    this.#pending.clear();
    for (const [tenant, answers] of pending) await this.#writeAnswers(tenant, answers);
    const touches = Date.now() - this.#touchedMs > TOUCH_MS;
    if (touches) this.#touchedMs = Date.now();
    for (const cache of this.#tenants.values()) {
      if (touches) {
        const used = cache.takeUsed();
        if (used.size > 0) await this.#store.touch(cache.tenant, used);
      }
      if (!cache.counts.dirty) continue;
      cache.counts.dirty = false;
      await this.#store.count(cache.tenant, this.#gateway, { ...cache.counts.tally });
    }
  }

  async #writeAnswers(tenant: string, answers: readonly NewAnswer[]): Promise<void> {
    const cache = this.#tenants.get(tenant);
    const bounds = boundsOf(cache?.policy);
    const crowded = !cache || cache.entries > bounds.entries || cache.bytes > bounds.bytes;
    // Of one key the last is kept.
    const latest = [...new Map(answers.map((one) => [one.row.key, one])).values()];
    const { revision, dropped } = await this.#store.add(tenant, latest, bounds, crowded);
    for (const { row } of latest) {
      const indexed = cache?.get(row.key, 0);
      if (indexed?.id === row.id) indexed.revision = revision;
    }
    for (const { key, id } of dropped) {
      // While the database was busy another answer may have come in its place.
      const here = cache?.get(key, 0);
      if (!here || here.id === id) this.#forget(tenant, key);
    }
  }

  /** Asks for what others have done with the answers of tenants that are in use. */
  async #follow(): Promise<void> {
    const now = Date.now();
    const inUse = [...this.#tenants.values()].filter(({ askedMs }) => askedMs > now - IN_USE_MS);
    if (inUse.length === 0) return;
    const revisions = await this.#store.revisions(inUse.map(({ tenant }) => tenant));
    for (const cache of inUse) {
      if ((revisions.get(cache.tenant) ?? 0) > cache.revision) await this.#load(cache);
      cache.syncedMs = now;
    }
  }

  #loadOnce(tenant: string): Promise<TenantCache> {
    const loading = this.#loading.get(tenant);
    if (loading) return loading;
    const cache = this.#tenants.get(tenant) ?? new TenantCache(tenant, tenantSecret(this.#meshKey, tenant));
    const now = Date.now();
    const begun = this.#load(cache)
      .then(() => {
        cache.syncedMs = now;
        cache.askedMs = now;
        this.#tenants.set(tenant, cache);
        return cache;
      })
      .finally(() => this.#loading.delete(tenant));
    this.#loading.set(tenant, begun);
    return begun;
  }

  async #load(cache: TenantCache): Promise<void> {
    const { tenant } = cache;
    // What was dropped while nobody asked may be told no more.
    if (Date.now() - cache.syncedMs > INVALIDATIONS_KEPT_MS / 2) this.#clear(cache);
    const news = await this.#store.news(tenant, cache.isLoaded ? cache.revision : 0);
    cache.policy = news.policy;
    cache.revision = Math.max(cache.revision, news.revision);
    if (!news.policy) {
      this.#clear(cache);
      return;
    }
    for (const { revision, model } of news.invalidations) {
      cache.drop({ revision, model });
      for (const key of cache.before(revision, model)) this.#forget(tenant, key);
    }
    cache.isLoaded = true;
    for (const row of news.answers) {
      if (cache.get(row.key, 0)?.id !== row.id) cache.set(this.#indexed(row));
    }
  }

  #indexed({ question, ...row }: IndexRow): IndexedAnswer {
    const place = `${memoryKey(row.tenant, row.key)}\nquestion`;
    return { ...row, question: question ? readQuestion(this.#box.open(question, place)) : undefined };
  }

  #forget(tenant: string, key: string): void {
    this.#tenants.get(tenant)?.delete(key);
    this.#memory.delete(memoryKey(tenant, key));
  }

  #clear(cache: TenantCache): void {
    for (const key of cache.expired(Number.POSITIVE_INFINITY))
      this.#memory.delete(memoryKey(cache.tenant, key));
    cache.clear();
  }

  #sweep(): Promise<number> {
    const now = Date.now();
    for (const cache of this.#tenants.values())
      for (const key of cache.expired(now)) this.#forget(cache.tenant, key);
    return this.#store.sweep(now);
  }
}

const memoryKey = (tenant: string, key: string) => `${tenant}\n${key}`;

function boundsOf(policy: TenantCache['policy']): Bounds {
  return {
    entries: Number(policy?.maxEntries) || DEFAULTS.entries,
    bytes: Number(policy?.maxBytes) || DEFAULTS.bytes,
  };
}
