import { unauthenticated } from '@landfall/common/errors/errors.ts';
import type { Identity } from '@landfall/common/identity/identity.ts';
import { LRUCache } from 'lru-cache';
import { type Directory, FRESH_MS } from './directory.ts';
import type { Principals } from './principals.ts';

/** Callers whose client certificate says who they are; that an authority vouches for it was seen to before. */
export class CertificateCallers {
  readonly #directory: Directory;
  readonly #principals: Principals;
  readonly #fresh = new LRUCache<string, Identity>({ max: 10_000, ttl: FRESH_MS });

  constructor(directory: Directory, principals: Principals) {
    this.#directory = directory;
    this.#principals = principals;
  }

  /**
   * @param names what the certificate says, the strongest first: `URI:...`, `DNS:...`, its subject
   * @throws LandfallError UNAUTHENTICATED where it names nobody who is kept here
   */
  async authenticate(names: readonly string[]): Promise<Identity> {
    const key = names.join('\n');
    const known = this.#fresh.get(key);
    if (known) return known;
    for (const name of names) {
      const found = await this.#directory.certified(name);
      if (!found) continue;
      const identity = await this.#principals.identify({ ...found, roles: [], groups: [] });
      this.#fresh.set(key, identity);
      return identity;
    }
    throw unauthenticated('the client certificate names nobody who is kept here; SetMember says whose it is');
  }

  forget(): void {
    this.#fresh.clear();
  }
}
