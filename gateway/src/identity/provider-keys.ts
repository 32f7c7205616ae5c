import { unavailable } from '@landfall/common/errors/errors.ts';
import { createRemoteJWKSet, type JWTVerifyGetKey } from 'jose';
import { isTrusted, type OidcProvider } from './oidc-config.ts';

const TIMEOUT_MS = 5000;
/** How long keys are used without asking for them again: one that was taken away is trusted no longer than this. */
const KEYS_FRESH_MS = 10 * 60_000;
const LARGEST_BYTES = 64 * 1024;
const JSON_TYPE = { accept: 'application/json' };

const away = (cause: unknown) =>
  unavailable('the OpenID provider of the token does not answer; try again', { cause });

/**
 * Keys of a provider, found by its discovery document and read again when a token names one that is not known, at most
 * once in `refreshMs`.
 */
export class ProviderKeys {
  readonly #provider: OidcProvider;
  #keys: Promise<JWTVerifyGetKey> | undefined;
  #failedMs = Number.NEGATIVE_INFINITY;

  constructor(provider: OidcProvider) {
    this.#provider = provider;
  }

  /** @throws LandfallError UNAVAILABLE where the provider can not be asked */
  get(): Promise<JWTVerifyGetKey> {
    const { refreshMs } = this.#provider;
    // A provider that is away is not asked by every call.
    if (!this.#keys && performance.now() - this.#failedMs < Math.min(refreshMs, 1000)) {
      return Promise.reject(away(new Error('it did not a moment ago')));
    }
    this.#keys ??= this.#discover().catch((cause) => {
      this.#keys = undefined;
      this.#failedMs = performance.now();
      throw away(cause);
    });
    return this.#keys;
  }

  async #discover(): Promise<JWTVerifyGetKey> {
    const { issuer, refreshMs } = this.#provider;
    const address = `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`;
    const response = await fetch(address, {
      ...{ headers: JSON_TYPE, redirect: 'error' },
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    const text = await response.text();
    if (!response.ok || text.length > LARGEST_BYTES)
      throw new Error(`${address} answered ${response.status}`);
    const { issuer: said, jwks_uri: keys } = JSON.parse(text) as Record<string, unknown>;
    if (said !== issuer) throw new Error(`${address} speaks for another issuer`);
    if (typeof keys !== 'string' || !isTrusted(keys)) throw new Error(`${address} names no jwks_uri`);
    return createRemoteJWKSet(new URL(keys), {
      ...{ timeoutDuration: TIMEOUT_MS, cooldownDuration: refreshMs, cacheMaxAge: KEYS_FRESH_MS },
      headers: JSON_TYPE,
    });
  }
}
