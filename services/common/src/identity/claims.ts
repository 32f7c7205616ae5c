import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import type { Identity, ResourceRight } from './identity.ts';

/** An identity as claims of a token; what is empty is left out. */
export function claimsOf({ tenant, role, levels, rights = [], keyId, ...lists }: Identity): object {
  const { groups = [], roles = [], methods = [], scopes = [] } = lists;
  const given = { groups, roles, methods, scopes };
  const filled = Object.entries(given).filter(([, items]) => items.length > 0);
  return {
    ...{ tenant, role, ...Object.fromEntries(filled) },
    ...(levels ? { levels } : {}),
    ...(keyId ? { key: keyId } : {}),
    // [resource, level, restricted]: names of fields would double a token of many rights.
    ...(rights.length > 0
      ? { rights: rights.map(({ resource, level, restricted }) => [resource, level, restricted ? 1 : 0]) }
      : {}),
  };
}

/**
 * The identity in a token's claims.
 * @throws Error where one is missing or of another type
 */
export function identityOf(subject: string, claims: Readonly<Record<string, unknown>>): Identity {
  const { tenant, role, levels, key, rights } = claims;
  if (typeof tenant !== 'string' || !isRole(role)) throw new Error('tenant or role');
  const identity: Identity = { subject, tenant, role };
  for (const name of ['groups', 'roles', 'methods', 'scopes'] as const) {
    if (claims[name] === undefined) continue;
    if (!isTexts(claims[name])) throw new Error(name);
    identity[name] = claims[name];
  }
  if (levels !== undefined) {
    if (
      typeof levels !== 'object' ||
      levels === null ||
      Array.isArray(levels) ||
      !Object.values(levels).every(isRole)
    ) {
      throw new Error('levels');
    }
    identity.levels = levels as Record<string, Role>;
  }
  if (key !== undefined) {
    if (typeof key !== 'string') throw new Error('key');
    identity.keyId = key;
  }
  if (rights !== undefined) {
    if (!Array.isArray(rights)) throw new Error('rights');
    identity.rights = rights.map(rightOf);
  }
  return identity;
}

function rightOf(claim: unknown): ResourceRight {
  if (!Array.isArray(claim) || claim.length !== 3) throw new Error('rights');
  const [resource, level, restricted] = claim;
  if (typeof resource !== 'string' || !isRole(level)) throw new Error('rights');
  return { resource, level, restricted: restricted === 1 };
}

const isRole = (value: unknown): value is Role => typeof value === 'number' && value in Role;

const isTexts = (value: unknown): value is string[] =>
  Array.isArray(value) && value.every((item) => typeof item === 'string');
