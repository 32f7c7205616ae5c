import type { EntityManager } from '@landfall/common/db/database.ts';
import { type Identity, roleReaches } from '@landfall/common/identity/identity.ts';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import type { Target } from './targets.ts';

/** What somebody may do with a prompt, each with all before it; the place is the number in the contract. */
export const RIGHTS = ['none', 'viewer', 'invoker', 'editor', 'owner'] as const;
export type Right = Exclude<(typeof RIGHTS)[number], 'none'>;

/** How somebody stands to a prompt or folder, and by what. */
export interface Standing {
  /** Number of the right; 0 is none. */
  level: number;
  /** The nearest target that lets grants alone count; undefined where the role counts too. */
  restrictedBy: Target | undefined;
  /** The strongest grant. */
  grant: { target: Target; grantee: string; level: number } | undefined;
  /** Whether it is the administrator's role alone that lets them past a restriction. */
  byOffice: boolean;
}

/** Whom grants can name to reach a caller. */
export const granteesOf = ({ subject, groups = [] }: Identity): string[] => [
  subject,
  ...groups.map((group) => `group:${group}`),
  'everyone',
];

const LEVEL_OF_ROLE: ReadonlyMap<Role, number> = new Map([
  [Role.VIEWER, 1],
  [Role.INVOKER, 2],
  [Role.EDITOR, 3],
  [Role.ADMIN, 4],
  [Role.SERVICE, 4],
]);

/** The right that a role has where nothing is restricted. */
export const levelOfRole = (role: Role): number => LEVEL_OF_ROLE.get(role) ?? 0;

interface Row {
  target: Target;
  grantee: string;
  level: number;
}

/**
 * How a caller stands to targets, of which each covers the one before it.
 * @param targets the nearest first
 */
export async function standingOn(
  em: EntityManager,
  identity: Identity,
  targets: readonly Target[],
): Promise<Standing> {
  const grantees = granteesOf(identity);
  const marks = (of: readonly string[]) => of.map(() => '?').join(', ');
  const rows = (await em.getConnection().execute(
    `select target, '' as grantee, 0 as level from prompt_access
       where tenant = ? and target in (${marks(targets)}) and restricted = true
     union all
     select target, grantee, level from prompt_grant
       where tenant = ? and target in (${marks(targets)}) and grantee in (${marks(grantees)})`,
    [identity.tenant, ...targets, identity.tenant, ...targets, ...grantees],
    'all',
    em.getTransactionContext(),
  )) as Row[];
  const restricted = new Set(rows.filter((row) => row.grantee === '').map((row) => row.target));
  const restrictedBy = targets.find((target) => restricted.has(target));
  const grants = rows.filter((row) => row.grantee !== '');
  const grant = grants.toSorted((a, b) => b.level - a.level)[0];
  const granted = grant?.level ?? 0;
  const byRole = levelOfRole(identity.role);
  const isAdmin = roleReaches(identity.role, Role.ADMIN);
  const level = restrictedBy && !isAdmin ? granted : Math.max(granted, byRole);
  return { level, restrictedBy, grant, byOffice: restrictedBy !== undefined && isAdmin && granted < byRole };
}
