import { jwtVerify, SignJWT } from 'jose';
import { LRUCache } from 'lru-cache';
import { unauthenticated } from '../errors/errors.ts';
import { claimsOf, identityOf } from './claims.ts';
import type { Identity } from './identity.ts';

/** Metadata key that carries a signed identity from hop to hop. */
export const IDENTITY_KEY = 'landfall-identity';

const ISSUER = 'landfall';
const AUDIENCE = 'landfall-mesh';
const ALGORITHM = 'HS256';
const LIFETIME_MS = 5 * 60_000;
/** A cached token is handed out only while it holds for at least this long. */
const MARGIN_MS = 60_000;

interface Minted {
  token: string;
  expiresMs: number;
}

const holds = (minted: Minted | undefined): minted is Minted =>
  minted !== undefined && minted.expiresMs - Date.now() > MARGIN_MS;

/**
 * Signs and verifies identities with the mesh's key (JWT, HS256 and nothing else). Both directions are cached, so
 * a call costs a look-up and not a signature.
 */
export class IdentitySigner {
  readonly #key: Uint8Array;
  readonly #minted = new LRUCache<string, Minted>({ max: 10_000 });
  /** By the very object: callers hand the same one over again, and one of many rights is long to compare. */
  readonly #mintedFor = new WeakMap<Identity, Minted>();
  readonly #signing = new Map<string, Promise<string>>();
  readonly #verified = new LRUCache<string, { identity: Identity; expiresMs: number }>({ max: 10_000 });

  /** @param key at least 32 bytes, the same for all services of a mesh */
  constructor(key: Uint8Array) {
    if (key.length < 32) throw new Error(`the mesh key has ${key.length} bytes; it needs at least 32`);
    this.#key = key;
  }

  /** A token for an identity, valid for a few minutes. */
  mint(identity: Identity): string | Promise<string> {
    const same = this.#mintedFor.get(identity);
    if (holds(same)) return same.token;
    const claims = claimsOf(identity);
    const cacheKey = JSON.stringify([identity.subject, claims]);
    const known = this.#minted.get(cacheKey);
    if (holds(known)) {
      this.#mintedFor.set(identity, known);
      return known.token;
    }
    // Of many calls at once that need a new token one signs.
    let signing = this.#signing.get(cacheKey);
    if (!signing) {
      signing = this.#sign(identity.subject, claims, cacheKey).finally(() => this.#signing.delete(cacheKey));
      this.#signing.set(cacheKey, signing);
    }
    return signing;
  }

  async #sign(subject: string, claims: object, cacheKey: string): Promise<string> {
    const expiresMs = Date.now() + LIFETIME_MS;
    const token = await new SignJWT({ ...claims })
      .setProtectedHeader({ alg: ALGORITHM })
      .setIssuer(ISSUER)
      .setAudience(AUDIENCE)
      .setSubject(subject)
      .setExpirationTime(Math.floor(expiresMs / 1000))
      .sign(this.#key);
    this.#minted.set(cacheKey, { token, expiresMs });
    return token;
  }

  /**
   * The identity in a token. A promise only where the token was not seen before.
   * @throws LandfallError UNAUTHENTICATED for a token that is forged, expired, or meant for somebody else.
   */
  verify(token: string): Identity | Promise<Identity> {
    const known = this.#verified.get(token);
    if (known) {
      if (known.expiresMs > Date.now()) return known.identity;
      this.#verified.delete(token);
    }
    return this.#check(token);
  }

  async #check(token: string): Promise<Identity> {
    try {
      const { payload } = await jwtVerify(token, this.#key, {
        algorithms: [ALGORITHM],
        issuer: ISSUER,
        audience: AUDIENCE,
        requiredClaims: ['sub', 'exp'],
      });
      const { sub, exp, ...claims } = payload as { sub: string; exp: number };
      const identity = identityOf(sub, claims);
      this.#verified.set(token, { identity, expiresMs: exp * 1000 });
      return identity;
    } catch (cause) {
      throw unauthenticated('the caller identity is missing, forged or expired', { cause });
    }
  }
}
