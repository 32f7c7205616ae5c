import { fromJsonString } from '@bufbuild/protobuf';
import type { Database } from '@landfall/common/db/database.ts';
import { ContentPolicySchema as PolicyMessage } from '@landfall/proto/landfall/gateway/v1/content_pb.js';
import { LRUCache } from 'lru-cache';
import { ActiveContentPolicySchema, ContentPolicySchema } from '../db/content-entities.ts';
import { CompiledPolicy } from './policy.ts';

/** How long another gateway of the same database may still decide by the version before. */
const FRESH_MS = 2000;

/** The policy in force of each tenant. */
export class ContentPolicies {
  readonly #database: Database;
  readonly #fresh = new LRUCache<string, { policy: CompiledPolicy | undefined }>({
    max: 10_000,
    ttl: FRESH_MS,
  });
  /** Versions never change: each is made ready once. */
  readonly #compiled = new LRUCache<string, CompiledPolicy>({ max: 1000 });

  constructor(database: Database) {
    this.#database = database;
  }

  /** Undefined where the tenant has none. A promise only where it has to be read. */
  of(tenant: string): CompiledPolicy | undefined | Promise<CompiledPolicy | undefined> {
    const known = this.#fresh.get(tenant);
    return known ? known.policy : this.#read(tenant);
  }

  forget(tenant: string): void {
    this.#fresh.delete(tenant);
  }

  async #read(tenant: string): Promise<CompiledPolicy | undefined> {
    const policy = await this.#database.read(async (em) => {
      const active = await em.findOne(ActiveContentPolicySchema, { tenant });
      if (!active) return undefined;
      const key = `${tenant}\n${active.version}`;
      const known = this.#compiled.get(key);
      if (known) return known;
      const { body, version } = await em.findOneOrFail(ContentPolicySchema, {
        tenant,
        version: active.version,
      });
      const made = new CompiledPolicy(fromJsonString(PolicyMessage, body), version);
      this.#compiled.set(key, made);
      return made;
    });
    this.#fresh.set(tenant, { policy });
    return policy;
  }
}
