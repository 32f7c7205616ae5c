import { fromJsonString } from '@bufbuild/protobuf';
import type { Database, EntityManager } from '@landfall/common/db/database.ts';
import {
  type CachePolicy,
  CachePolicySchema as PolicyMessage,
} from '@landfall/proto/landfall/gateway/v1/cache_pb.js';
import {
  type CachedAnswer,
  CachedAnswerSchema,
  CacheInvalidationSchema,
  CachePolicySchema,
  CacheTenantSchema,
  CacheUseSchema,
} from '../db/cache-entities.ts';
import { nextRevision } from './changes.ts';
import { isOf } from './tenant-cache.ts';
import type { UseTally } from './use-counts.ts';

/** Columns of an answer but its text. */
const INDEX = [
  ...(['tenant', 'key', 'id', 'context', 'asked', 'model', 'question', 'bytes'] as const),
  ...(['revision', 'createdMs', 'expiresMs', 'usedMs'] as const),
] as const;
export type IndexRow = Omit<CachedAnswer, 'body'>;

/** An answer that was just made, and the last change of the tenant's that was known when its making began. */
export interface NewAnswer {
  row: Omit<CachedAnswer, 'revision'>;
  since: number;
}

export interface Bounds {
  entries: number;
  bytes: number;
}

/** An answer by its place; another one may have come there since. */
export type Dropped = Pick<CachedAnswer, 'key' | 'id'>;

/** What a tenant has that one gateway has not yet. */
export interface News {
  policy: CachePolicy | undefined;
  revision: number;
  answers: IndexRow[];
  invalidations: { revision: number; model: string }[];
}

/** How long a gateway may go without asking for news and still learn what was dropped. */
export const INVALIDATIONS_KEPT_MS = 3_600_000;
/** Answers that are dropped at once for want of space: a tenth of the bound is made free. */
const KEEP = 0.9;
const VICTIMS = 500;

/** Answers in the gateway's database, that all gateways share. */
export class CacheStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** The last change of each tenant's; those that have none are left out. */
  async revisions(tenants: readonly string[]): Promise<Map<string, number>> {
    const where = { tenant: { $in: [...tenants] } };
    const rows = await this.#database.read((em) => em.find(CacheTenantSchema, where));
    return new Map(rows.map(({ tenant, revision }) => [tenant, revision]));
  }

  /** @param after the last change that is known; what came by later ones is returned */
  news(tenant: string, after: number): Promise<News> {
    return this.#database.read(async (em) => {
      // Read first: what is committed meanwhile is read once more, and never missed.
      const revision = (await em.findOne(CacheTenantSchema, { tenant }))?.revision ?? 0;
      const kept = await em.findOne(CachePolicySchema, { tenant });
      const policy = kept ? fromJsonString(PolicyMessage, kept.body) : undefined;
      if (!policy?.enabled) return { policy: undefined, revision, answers: [], invalidations: [] };
      const later = { tenant, revision: { $gt: after } };
      const invalidations = await em.find(CacheInvalidationSchema, later, { orderBy: { revision: 'asc' } });
      const answers = (await em.find(
        CachedAnswerSchema,
        { ...later, expiresMs: { $gt: Date.now() } },
        { fields: INDEX, orderBy: { createdMs: 'asc' } },
      )) as unknown as IndexRow[];
      return { policy, revision, answers, invalidations };
    });
  }

  async body(tenant: string, key: string, id: string): Promise<string | undefined> {
    const found = await this.#database.read((em) => em.findOne(CachedAnswerSchema, { tenant, key, id }));
    return found?.body;
  }

  /**
   * Keeps answers, but for those whose making began before something made them void.
   * @param crowded whether there may be more than the bounds let be
   * @returns the number of the change, and answers that are not kept: void ones, and those that had to make room
   */
  add(
    tenant: string,
    answers: readonly NewAnswer[],
    bounds: Bounds,
    crowded: boolean,
  ): Promise<{ revision: number; dropped: Dropped[] }> {
    return this.#database.transaction(async (em) => {
      const revision = await nextRevision(em, tenant);
      const since = Math.min(...answers.map((answer) => answer.since));
      const voids = await em.find(CacheInvalidationSchema, { tenant, revision: { $gt: since } });
      const isVoid = ({ row, since }: NewAnswer) =>
        voids.some((one) => one.revision > since && isOf(row, one.model));
      const rows = answers.filter((one) => !isVoid(one)).map(({ row }) => ({ ...row, revision }));
      if (rows.length > 0) await em.upsertMany(CachedAnswerSchema, rows);
      const dropped: Dropped[] = answers.filter(isVoid).map(({ row }) => row);
      if (crowded) dropped.push(...(await makeRoom(em, tenant, bounds)));
      return { revision, dropped };
    });
  }

  /** When answers were last given. */
  async touch(tenant: string, used: ReadonlyMap<string, number>): Promise<void> {
    const byTime = Map.groupBy(used, ([, ms]) => Math.floor(ms / 1000));
    await this.#database.read(async (em) => {
      for (const [second, group] of byTime) {
        const keys = group.map(([key]) => key);
        for (let at = 0; at < keys.length; at += VICTIMS) {
          const where = { tenant, key: { $in: keys.slice(at, at + VICTIMS) } };
          await em.nativeUpdate(CachedAnswerSchema, where, { usedMs: second * 1000 });
        }
      }
    });
  }

  async count(tenant: string, gateway: string, tally: UseTally): Promise<void> {
    await this.#database.read((em) => em.upsert(CacheUseSchema, { tenant, gateway, ...tally }));
  }

  /** What all gateways have counted and what there is. */
  statistics(tenant: string): Promise<{ uses: UseTally[]; size: Bounds }> {
    return this.#database.read(async (em) => ({
      uses: await em.find(CacheUseSchema, { tenant }),
      size: await sizeOf(em, tenant),
    }));
  }

  /** Removes what is too old, and notes that every gateway has read. @returns how many answers */
  sweep(now: number): Promise<number> {
    return this.#database.read(async (em) => {
      await em.nativeDelete(CacheInvalidationSchema, { madeMs: { $lt: now - INVALIDATIONS_KEPT_MS } });
      return em.nativeDelete(CachedAnswerSchema, { expiresMs: { $lte: now } });
    });
  }
}

async function sizeOf(em: EntityManager, tenant: string): Promise<Bounds> {
  const [row] = (await em.execute(
    'select count(*) as entries, coalesce(sum(bytes), 0) as bytes from cached_answer where tenant = ? and expires_ms > ?',
    [tenant, Date.now()],
  )) as { entries: unknown; bytes: unknown }[];
  return { entries: Number(row!.entries), bytes: Number(row!.bytes) };
}

/** Drops what was not asked for longest until there is room. @returns what */
async function makeRoom(em: EntityManager, tenant: string, bounds: Bounds): Promise<Dropped[]> {
  const now = Date.now();
  await em.nativeDelete(CachedAnswerSchema, { tenant, expiresMs: { $lte: now } });
  const left = await sizeOf(em, tenant);
  if (left.entries <= bounds.entries && left.bytes <= bounds.bytes) return [];
  const dropped: Dropped[] = [];
  const most = { entries: Math.ceil(bounds.entries * KEEP), bytes: bounds.bytes * KEEP };
  const isOver = () => left.entries > most.entries || left.bytes > most.bytes;
  while (isOver()) {
    const oldest = await em.find(
      CachedAnswerSchema,
      { tenant },
      { fields: ['tenant', 'key', 'id', 'bytes'], orderBy: { usedMs: 'asc', key: 'asc' }, limit: VICTIMS },
    );
    if (oldest.length === 0) break;
    const victims: Dropped[] = [];
    for (const { key, id, bytes } of oldest) {
      if (!isOver()) break;
      victims.push({ key, id });
      left.entries -= 1;
      left.bytes -= bytes;
    }
    await em.nativeDelete(CachedAnswerSchema, { tenant, key: { $in: victims.map(({ key }) => key) } });
    em.clear();
    dropped.push(...victims);
  }
  return dropped;
}
