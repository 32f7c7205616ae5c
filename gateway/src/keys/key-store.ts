import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import type { Database, EntityManager } from '@landfall/common/db/database.ts';
import { unauthenticated } from '@landfall/common/errors/errors.ts';
import type { Identity } from '@landfall/common/identity/identity.ts';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { LRUCache } from 'lru-cache';
import { v7 as uuidv7 } from 'uuid';
import { levelName } from '../access/actions.ts';
import { type ApiKey, ApiKeySchema } from '../db/entities.ts';
import { lines, namesOf, TenantSchema } from '../db/identity-entities.ts';
import { FRESH_MS } from '../identity/directory.ts';
import type { Principals } from '../identity/principals.ts';

/** Tenant of the first key. */
export const FIRST_TENANT = 'default';
const SECRET = /^lf_[A-Za-z0-9_-]{43}$/;
const LAST_USE_MS = 60_000;

/** Whether a credential has the form of a key. */
export const isSecret = (text: string): boolean => SECRET.test(text);

const noKey = () => unauthenticated('give a valid API key as `Authorization: Bearer KEY`');

const hasExpired = ({ expiresMs }: ApiKey, now: number): boolean => expiresMs != null && expiresMs <= now;

const hashOf = (secret: string) => createHash('sha256').update(secret).digest('base64url');

/** A key to be. */
export interface KeyDraft {
  tenant: string;
  name: string;
  /** UNSPECIFIED where `roles` say it. */
  role: Role;
  roles?: readonly string[];
  scopes?: readonly string[];
  /** Subject for whom it acts; empty for itself. */
  owner?: string;
  /** Milliseconds since 1970; null for never. */
  expiresMs: number | null;
  groups?: readonly string[];
}

/** Groups that a key's bearer belongs to. */
export const groupsOf = ({ memberOf }: ApiKey): string[] => namesOf(memberOf);

/** Names of a key's roles, whichever way they are said. */
export const rolesOf = ({ role, roles }: Pick<ApiKey, 'role' | 'roles'>): string[] =>
  roles === '' ? [levelName(role)] : namesOf(roles);

interface Known {
  key: ApiKey;
  identity: Identity;
}

/** API keys: made, found by their secret, revoked. */
export class KeyStore {
  readonly #database: Database;
  readonly #principals: Principals;
  readonly #fresh = new LRUCache<string, Known>({ max: 10_000, ttl: FRESH_MS });

  constructor(database: Database, principals: Principals) {
    this.#database = database;
    this.#principals = principals;
  }

  /** A new key and its secret, which is in no other place than this answer. */
  async make(
    em: EntityManager,
    { groups = [], roles = [], scopes = [], owner = '', ...draft }: KeyDraft,
    secret = `lf_${randomBytes(32).toString('base64url')}`,
  ): Promise<{ key: ApiKey; secret: string }> {
    const key: ApiKey = {
      id: uuidv7(),
      ...draft,
      memberOf: lines(groups),
      roles: lines(roles),
      scopes: lines(scopes),
      owner,
      successorId: '',
      prefix: secret.slice(0, 9),
      hash: hashOf(secret),
      createdMs: Date.now(),
      revokedMs: null,
      lastUseMs: null,
    } as ApiKey;
    await em.insert(ApiKeySchema, key);
    return { key, secret };
  }

  /**
   * Makes the first key where there is none, an administrator's. The secret goes to a file that only its owner can
   * read, or to `print`, once.
   */
  async ensureFirst(file: string, print: (secret: string) => void): Promise<void> {
    if ((await this.#database.read((em) => em.count(ApiKeySchema, {}))) > 0) return;
    const secret = `lf_${randomBytes(32).toString('base64url')}`;
    // The file first: a crash in between leaves a secret without a key, which the next start replaces.
    if (file) writeFileSync(file, `${secret}\n`, { mode: 0o600 });
    const draft = { tenant: FIRST_TENANT, name: 'first', role: Role.ADMIN, expiresMs: null };
    await this.#database.transaction(async (em) => {
      const tenant = { name: FIRST_TENANT, displayName: '', disabled: false, createdMs: Date.now() };
      await em.upsert(TenantSchema, tenant, { onConflictAction: 'ignore' });
      await this.make(em, draft, secret);
    });
    if (!file) print(secret);
  }

  /**
   * The caller behind a secret.
   * @throws LandfallError UNAUTHENTICATED, the same for every reason that has to do with the secret
   */
  async authenticate(secret: string): Promise<Identity> {
    const known = isSecret(secret) ? await this.#find(hashOf(secret)) : undefined;
    const now = Date.now();
    if (!known || known.key.revokedMs != null || hasExpired(known.key, now)) throw noKey();
    if (now - (known.key.lastUseMs ?? 0) > LAST_USE_MS) this.#noteUse(known.key, now);
    return known.identity;
  }

  /** The caller that a key of a tenant stands for; undefined for one that there is not, or that has ended. */
  async identityOf(tenant: string, id: string): Promise<Identity | undefined> {
    const key = await this.#database.read((em) => em.findOne(ApiKeySchema, { tenant, id }));
    return key && key.revokedMs == null && !hasExpired(key, Date.now()) ? this.#identify(key) : undefined;
  }

  /** Makes a change to keys, or to whom they stand for, felt at once. */
  forget(): void {
    this.#fresh.clear();
  }

  /** The secret is looked up by its hash: how long that takes tells nothing about how near a guess was. */
  async #find(hash: string): Promise<Known | undefined> {
    const known = this.#fresh.get(hash);
    if (known) return known;
    const key = await this.#database.read((em) => em.findOne(ApiKeySchema, { hash }));
    if (!key || !timingSafeEqual(Buffer.from(key.hash), Buffer.from(hash))) return undefined;
    // One that has ended tells nothing of its owner.
    if (key.revokedMs != null || hasExpired(key, Date.now())) return undefined;
    const identity = await this.#identify(key);
    const found = { key, identity };
    this.#fresh.set(hash, found);
    return found;
  }

  async #identify(key: ApiKey): Promise<Identity> {
    const { id, tenant, owner } = key;
    const [roles, scopes] = [rolesOf(key), namesOf(key.scopes)];
    if (owner !== '') {
      const claims = { tenant, subject: owner, roles: [], groups: [] };
      return this.#principals.identify(claims, { id, roles, scopes });
    }
    const claims = { tenant, subject: `key:${id}`, roles, groups: groupsOf(key) };
    const identity = await this.#principals.identify(claims);
    return scopes.length > 0 ? { ...identity, scopes } : identity;
  }

  #noteUse(key: ApiKey, now: number): void {
    key.lastUseMs = now;
    const note = this.#database.read((em) =>
      em.nativeUpdate(ApiKeySchema, { id: key.id }, { lastUseMs: now }),
    );
    // A note for people: a call is not failed for want of it.
    note.catch(() => {});
  }
}
