import type { Database } from '@landfall/common/db/database.ts';
import { LRUCache } from 'lru-cache';
import { TenantPolicySchema } from '../db/entities.ts';
import type { Rate } from '../edge/rate-limiter.ts';

/** The limits that hold for each tenant. */
export class Policies {
  readonly #database: Database;
  readonly #standard: Rate;
  readonly #fresh = new LRUCache<string, Rate>({ max: 10_000, ttl: 2000 });

  constructor(database: Database, standard: Rate) {
    this.#database = database;
    this.#standard = standard;
  }

  /** Without a wait where it is known. */
  rate(tenant: string): Rate | Promise<Rate> {
    return this.#fresh.get(tenant) ?? this.#read(tenant);
  }

  async #read(tenant: string): Promise<Rate> {
    const own = await this.#database.read((em) => em.findOne(TenantPolicySchema, { tenant }));
    const rate = {
      requestsPerMinute: own?.requestsPerMinute || this.#standard.requestsPerMinute,
      concurrentRequests: own?.concurrentRequests || this.#standard.concurrentRequests,
    };
    this.#fresh.set(tenant, rate);
    return rate;
  }

  forget(tenant: string): void {
    this.#fresh.delete(tenant);
  }
}
