import type { Identity } from '@landfall/common/identity/identity.ts';
import { LRUCache } from 'lru-cache';
import { FRESH_MS } from './directory.ts';
import type { OidcTokens } from './oidc.ts';
import type { Claims, Principals } from './principals.ts';

/** Callers who come with a token of an OpenID provider. */
export class TokenCallers {
  readonly #tokens: OidcTokens;
  readonly #principals: Principals;
  /** By the claims of a checked token, of which there is one object a token. */
  readonly #fresh = new LRUCache<Claims, Identity>({ max: 10_000, ttl: FRESH_MS });

  constructor(tokens: OidcTokens, principals: Principals) {
    this.#tokens = tokens;
    this.#principals = principals;
  }

  /** @throws LandfallError UNAUTHENTICATED, or UNAVAILABLE where the provider's keys can not be read */
  async authenticate(token: string): Promise<Identity> {
    const claims = await this.#tokens.claims(token);
    const known = this.#fresh.get(claims);
    if (known) return known;
    const identity = await this.#principals.identify(claims);
    this.#fresh.set(claims, identity);
    return identity;
  }

  /** Makes a change to those whom tokens stand for felt at once. */
  forget(): void {
    this.#fresh.clear();
  }
}
