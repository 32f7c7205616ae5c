import { createHash } from 'node:crypto';
import { LandfallError, unauthenticated, unavailable } from '@landfall/common/errors/errors.ts';
import { decodeJwt, errors, type JWTPayload, jwtVerify } from 'jose';
import { LRUCache } from 'lru-cache';
import type { OidcProvider } from './oidc-config.ts';
import type { Claims } from './principals.ts';
import { ProviderKeys } from './provider-keys.ts';

/** How long a token that was checked is not checked again; its end is watched in any case. */
const CHECKED_MS = 60_000;
const SKEW_S = 5;
const SUBJECT = /^[A-Za-z0-9][A-Za-z0-9._@:+-]{0,194}$/;
const GROUP = /^[A-Za-z0-9][A-Za-z0-9._@:+-]{0,63}$/;
/** Groups of a token beyond these are left out: identities travel with every call. */
const MOST_GROUPS = 64;

const refused = (why: string, cause?: unknown) =>
  unauthenticated(`the token is not taken: ${why}`, cause === undefined ? {} : { cause });

/** Tokens of OpenID providers: checked by the provider's own keys, and read as the configuration says. */
export class OidcTokens {
  readonly #providers: ReadonlyMap<string, { provider: OidcProvider; keys: ProviderKeys }>;
  readonly #checked = new LRUCache<string, { claims: Claims; expiresMs: number }>({
    ...{ max: 10_000, ttl: CHECKED_MS },
  });

  constructor(providers: readonly OidcProvider[]) {
    this.#providers = new Map(
      providers.map((provider) => [provider.issuer, { provider, keys: new ProviderKeys(provider) }]),
    );
  }

  /** @throws LandfallError UNAUTHENTICATED, or UNAVAILABLE where the provider's keys can not be read */
  async claims(token: string): Promise<Claims> {
    const digest = createHash('sha256').update(token).digest('base64url');
    const known = this.#checked.get(digest);
    if (known && known.expiresMs > Date.now()) return known.claims;
    const { provider, keys } = this.#issuerOf(token);
    const payload = await verified(token, provider, keys);
    const claims = claimsOf(payload, provider);
    this.#checked.set(digest, { claims, expiresMs: payload.exp! * 1000 });
    return claims;
  }

  #issuerOf(token: string) {
    let issuer: unknown;
    try {
      issuer = decodeJwt(token).iss;
    } catch {
      throw refused('it is neither an API key nor a JWT');
    }
    const found = typeof issuer === 'string' ? this.#providers.get(issuer) : undefined;
    if (!found) throw refused('nobody here knows its issuer');
    return found;
  }
}

async function verified(token: string, provider: OidcProvider, keys: ProviderKeys): Promise<JWTPayload> {
  const { issuer, audience, algorithms } = provider;
  try {
    const { payload } = await jwtVerify(token, await keys.get(), {
      ...{ issuer, audience, algorithms, clockTolerance: SKEW_S },
      requiredClaims: ['exp', 'aud', 'iss'],
    });
    return payload;
  } catch (cause) {
    if (cause instanceof LandfallError) throw cause;
    if (cause instanceof errors.JWTExpired) throw refused('it has expired', cause);
    if (cause instanceof errors.JWTClaimValidationFailed) {
      throw refused(`its claim ${cause.claim} is missing or wrong`, cause);
    }
    if (cause instanceof errors.JWKSTimeout || !(cause instanceof errors.JOSEError)) {
      throw unavailable('the OpenID provider of the token does not answer; try again', { cause });
    }
    // jose says so of an answer that is no list of keys, too: the provider's fault and not the caller's.
    if (cause.code === 'ERR_JOSE_GENERIC') {
      throw unavailable('the OpenID provider of the token does not answer; try again', { cause });
    }
    throw refused('its signature does not hold', cause);
  }
}

function claimsOf(payload: JWTPayload, provider: OidcProvider): Claims {
  const { tenantClaim, subjectClaim, groupsClaim, rolesClaim } = provider;
  const subject = claimAt(payload, subjectClaim);
  if (typeof subject !== 'string' || !SUBJECT.test(subject)) {
    throw refused(`its claim ${subjectClaim} does not name anybody`);
  }
  const tenant = provider.tenant ?? claimAt(payload, tenantClaim!);
  if (typeof tenant !== 'string' || (tenantClaim && !provider.tenants.includes(tenant))) {
    throw refused(`its claim ${tenantClaim} names no tenant that its issuer may speak for`);
  }
  const named = rolesClaim ? textsAt(payload, rolesClaim) : [];
  const mapped = named.flatMap((role) => (Object.hasOwn(provider.roles, role) ? provider.roles[role]! : []));
  const groups = (groupsClaim ? textsAt(payload, groupsClaim) : []).filter((group) => GROUP.test(group));
  return {
    ...{ tenant, subject: `user:${subject}` },
    roles: [...new Set([...provider.defaultRoles, ...mapped])],
    groups: groups.slice(0, MOST_GROUPS),
  };
}

/** A claim by its name, or by a path through objects (`realm_access.roles`). */
function claimAt(payload: JWTPayload, name: string): unknown {
  if (Object.hasOwn(payload, name)) return payload[name];
  let value: unknown = payload;
  for (const part of name.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return undefined;
    value = (value as Record<string, unknown>)[part];
  }
  return value;
}

/** A list of texts, or one text of words. */
function textsAt(payload: JWTPayload, name: string): string[] {
  const value = claimAt(payload, name);
  if (typeof value === 'string') return value.split(' ').filter(Boolean);
  return Array.isArray(value) ? value.filter((each): each is string => typeof each === 'string') : [];
}
