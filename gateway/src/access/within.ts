import { invalidArgument, permissionDenied } from '@landfall/common/errors/errors.ts';
import type { Identity } from '@landfall/common/identity/identity.ts';
import { AREAS } from './actions.ts';
import { type Allowance, allowanceOf, isWithin, ROLE_NAMES } from './role-table.ts';
import { scopesAreWithin } from './scopes.ts';

/** What a caller is allowed, whichever way their identity says it. */
export function allowanceOfCaller({ role, levels, methods = [] }: Identity): Allowance {
  return levels
    ? { levels, methods }
    : { levels: Object.fromEntries(AREAS.map((area) => [area, role])), methods };
}

/**
 * Nobody gives what they do not have.
 * @param field of the request that names the roles
 * @throws LandfallError INVALID_ARGUMENT for a role that there is not, PERMISSION_DENIED for one beyond the caller's own
 */
export function requireRolesWithin(caller: Identity, roles: readonly string[], field: string): void {
  requireKnownRoles(roles, field);
  if (!isWithin(allowanceOf(roles), allowanceOfCaller(caller))) {
    throw permissionDenied('a role cannot be given by one who does not have what it allows', {
      reason: 'ROLE_BEYOND_OWN',
    });
  }
}

/** @throws LandfallError INVALID_ARGUMENT for a role that there is not */
export function requireKnownRoles(roles: readonly string[], field: string): void {
  const unknown = roles.findIndex((role) => !ROLE_NAMES.includes(role));
  if (unknown >= 0) {
    throw invalidArgument(`${field}[${unknown}]`, `is no role; there are ${ROLE_NAMES.join(', ')}`);
  }
}

/** @throws LandfallError PERMISSION_DENIED for scopes that leave open what the caller's own key closes */
export function requireScopesWithin({ scopes: own = [] }: Identity, scopes: readonly string[]): void {
  if (!scopesAreWithin(scopes, own)) {
    throw permissionDenied(`the caller's key is only for ${own.join(', ')}: the new one cannot be for more`, {
      reason: 'SCOPE_BEYOND_OWN',
    });
  }
}
