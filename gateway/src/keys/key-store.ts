import { createHash, randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import type { Database, EntityManager } from '@landfall/common/db/database.ts';
import { unauthenticated } from '@landfall/common/errors/errors.ts';
import type { Identity } from '@landfall/common/identity/identity.ts';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { LRUCache } from 'lru-cache';
import { v7 as uuidv7 } from 'uuid';
import { type ApiKey, ApiKeySchema } from '../db/entities.ts';

/** Tenant of the first key. */
export const FIRST_TENANT = 'default';
const SECRET = /^lf_[A-Za-z0-9_-]{43}$/;
/** How long a look-up may be reused, so that another gateway's revocation is noticed. */
const FRESH_MS = 2000;
const LAST_USE_MS = 60_000;

const hashOf = (secret: string) => createHash('sha256').update(secret).digest('base64url');

/** API keys: made, found by their secret, revoked. */
export class KeyStore {
  readonly #database: Database;
  readonly #fresh = new LRUCache<string, ApiKey>({ max: 10_000, ttl: FRESH_MS });

  constructor(database: Database) {
    this.#database = database;
  }

  /** A new key and its secret, which is in no other place than this answer. */
  async make(
    em: EntityManager,
    draft: { tenant: string; name: string; role: Role; expiresMs: number | null },
    secret = `lf_${randomBytes(32).toString('base64url')}`,
  ): Promise<{ key: ApiKey; secret: string }> {
    const key: ApiKey = {
      id: uuidv7(),
      ...draft,
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
    await this.#database.transaction((em) => this.make(em, draft, secret));
    if (!file) print(secret);
  }

  /**
   * The caller behind `Authorization: Bearer SECRET`.
   * @throws LandfallError UNAUTHENTICATED, the same for every reason
   */
  async authenticate(authorization: string | null): Promise<Identity> {
    const secret = authorization?.startsWith('Bearer ') ? authorization.slice('Bearer '.length) : '';
    const key = SECRET.test(secret) ? await this.#find(hashOf(secret)) : undefined;
    const now = Date.now();
    if (!key || key.revokedMs != null || (key.expiresMs != null && key.expiresMs <= now)) {
      throw unauthenticated('give a valid API key as `Authorization: Bearer KEY`');
    }
    if (now - (key.lastUseMs ?? 0) > LAST_USE_MS) this.#noteUse(key, now);
    return { subject: `key:${key.id}`, tenant: key.tenant, role: key.role };
  }

  /** Makes a revocation felt at once. */
  forget(key: ApiKey): void {
    this.#fresh.delete(key.hash);
  }

  /** The secret is looked up by its hash: how long that takes tells nothing about how near a guess was. */
  async #find(hash: string): Promise<ApiKey | undefined> {
    const known = this.#fresh.get(hash);
    if (known) return known;
    const key = await this.#database.read((em) => em.findOne(ApiKeySchema, { hash }));
    if (key) this.#fresh.set(hash, key);
    return key ?? undefined;
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
