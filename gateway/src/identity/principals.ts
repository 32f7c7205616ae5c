import { unauthenticated } from '@landfall/common/errors/errors.ts';
import type { Identity } from '@landfall/common/identity/identity.ts';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { AREAS } from '../access/actions.ts';
import { type Allowance, allowanceOf, narrower } from '../access/role-table.ts';
import type { Directory } from './directory.ts';

/** What a credential says of its bearer. */
export interface Claims {
  tenant: string;
  /** `key:UUID`, `user:NAME` or `account:NAME`. */
  subject: string;
  roles: readonly string[];
  groups: readonly string[];
}

/** A key that acts for its owner. */
export interface OwnedKey {
  id: string;
  roles: readonly string[];
  scopes: readonly string[];
}

/** Makes callers of what credentials say and what is kept of their bearers. */
export class Principals {
  readonly #directory: Directory;

  constructor(directory: Directory) {
    this.#directory = directory;
  }

  /**
   * @param key by which it acts; it is left what key and bearer both may
   * @throws LandfallError UNAUTHENTICATED for a tenant or bearer that is disabled, or that the key's owner no longer is
   */
  async identify({ tenant, subject, ...said }: Claims, key?: OwnedKey): Promise<Identity> {
    const [isOpen, member, groupRoles, rules] = await Promise.all([
      this.#directory.isOpen(tenant),
      this.#directory.member(tenant, subject),
      this.#directory.groups(tenant),
      this.#directory.rules(tenant),
    ]);
    if (!isOpen) throw unauthenticated('the tenant is not known here, or is disabled');
    if (member?.disabled) throw unauthenticated('the caller is disabled');
    if (key && !member) throw unauthenticated('the owner of the key is no longer kept');
    const groups = [...new Set([...said.groups, ...(member?.groups ?? [])])];
    const ofGroups = groups.flatMap((group) => groupRoles.get(group) ?? []);
    const roles = [...new Set([...said.roles, ...(member?.roles ?? []), ...ofGroups])];
    const own = allowanceOf(roles);
    const allowance = key ? narrower(allowanceOf(key.roles), own) : own;
    const rights = rules.rightsOf({ subject, groups }, key ? highest(allowance) : Role.EDITOR);
    return {
      ...{ subject, tenant, ...levelled(allowance) },
      ...(groups.length > 0 ? { groups } : {}),
      ...(rights.length > 0 ? { rights } : {}),
      roles: key ? key.roles : roles,
      ...(key ? { keyId: key.id } : {}),
      ...(key && key.scopes.length > 0 ? { scopes: key.scopes } : {}),
    };
  }

  /** Somebody of these roles, of whom nothing else is known. */
  ofRoles(tenant: string, roles: readonly string[]): Promise<Identity> {
    return this.identify({ tenant, subject: 'key:anybody', roles, groups: [] });
  }

  /** A member as a caller; undefined for one who is not kept, or disabled. */
  async kept(tenant: string, subject: string): Promise<Identity | undefined> {
    const member = await this.#directory.member(tenant, subject);
    return member && !member.disabled ? this.identify({ tenant, subject, roles: [], groups: [] }) : undefined;
  }
}

/** One role where it is the same in all areas, else levels. */
export function levelled({ levels, methods }: Allowance): Pick<Identity, 'role' | 'levels' | 'methods'> {
  const first = levels[AREAS[0]!] ?? Role.UNSPECIFIED;
  if (methods.length === 0 && AREAS.every((area) => (levels[area] ?? Role.UNSPECIFIED) === first)) {
    return { role: first };
  }
  return { role: Role.UNSPECIFIED, levels, ...(methods.length > 0 ? { methods } : {}) };
}

/** What it allows at most, in any area. */
const highest = ({ levels }: Allowance): Role => Math.max(Role.UNSPECIFIED, ...Object.values(levels));
