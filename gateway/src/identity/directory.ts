import type { Database } from '@landfall/common/db/database.ts';
import { LRUCache } from 'lru-cache';
import { ResourceRules } from '../access/resource-rules.ts';
import { ResourceGrantSchema, RestrictionSchema } from '../db/access-entities.ts';
import {
  CertificateSchema,
  GroupSchema,
  type MemberRow,
  MemberSchema,
  namesOf,
  TenantSchema,
} from '../db/identity-entities.ts';

/** How long what was read may be reused, so that another gateway's change is noticed. */
export const FRESH_MS = 2000;

/** A member as callers are made from. */
export interface KnownMember {
  roles: readonly string[];
  groups: readonly string[];
  disabled: boolean;
}

type Cached<T> = LRUCache<string, { value: T }>;
const cache = <T>(): Cached<T> => new LRUCache({ max: 10_000, ttl: FRESH_MS });

/** Tenants, members, groups and certificates as they are kept. */
export class Directory {
  readonly #database: Database;
  readonly #tenants = cache<boolean>();
  readonly #members = cache<KnownMember | undefined>();
  readonly #groups = cache<ReadonlyMap<string, readonly string[]>>();
  readonly #rules = cache<ResourceRules>();
  readonly #certificates = cache<{ tenant: string; subject: string } | undefined>();

  constructor(database: Database) {
    this.#database = database;
  }

  /** Whether a tenant is kept, and not disabled. */
  isOpen(tenant: string): Promise<boolean> {
    return this.#cached(this.#tenants, tenant, async () => {
      const row = await this.#database.read((em) => em.findOne(TenantSchema, { name: tenant }));
      return row !== null && !row.disabled;
    });
  }

  member(tenant: string, subject: string): Promise<KnownMember | undefined> {
    return this.#cached(this.#members, `${tenant} ${subject}`, async () => {
      const row = await this.#database.read((em) => em.findOne(MemberSchema, { tenant, subject }));
      return row ? knownMember(row) : undefined;
    });
  }

  /** Roles by name of group, for groups that have any. */
  groups(tenant: string): Promise<ReadonlyMap<string, readonly string[]>> {
    return this.#cached(this.#groups, tenant, async () => {
      const rows = await this.#database.read((em) => em.find(GroupSchema, { tenant }));
      return new Map(rows.map(({ name, roles }) => [name, namesOf(roles)]));
    });
  }

  /** What is said of single resources. */
  rules(tenant: string): Promise<ResourceRules> {
    return this.#cached(this.#rules, tenant, async () => {
      const [grants, restricted] = await this.#database.read(async (em) => [
        await em.find(ResourceGrantSchema, { tenant }),
        await em.find(RestrictionSchema, { tenant }),
      ]);
      return new ResourceRules(
        grants.map(({ resource, grantee, level }) => ({ resource, grantee, level })),
        restricted.map(({ resource }) => resource),
      );
    });
  }

  /** Whom a certificate names. */
  certified(name: string): Promise<{ tenant: string; subject: string } | undefined> {
    return this.#cached(this.#certificates, name, async () => {
      const row = await this.#database.read((em) => em.findOne(CertificateSchema, { name }));
      return row ? { tenant: row.tenant, subject: row.subject } : undefined;
    });
  }

  /** Makes a change felt at once. */
  forget(): void {
    for (const each of [this.#tenants, this.#members, this.#groups, this.#rules, this.#certificates])
      each.clear();
  }

  async #cached<T>(kept: Cached<T>, key: string, read: () => Promise<T>): Promise<T> {
    const known = kept.get(key);
    if (known) return known.value;
    const value = await read();
    kept.set(key, { value });
    return value;
  }
}

const knownMember = ({ roles, memberOf, disabled }: MemberRow): KnownMember => ({
  ...{ roles: namesOf(roles), groups: namesOf(memberOf), disabled },
});
