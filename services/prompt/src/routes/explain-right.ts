import { invalidArgument } from '@landfall/common/errors/errors.ts';
import { type Identity, roleReaches } from '@landfall/common/identity/identity.ts';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import type { AccessRoute } from '../context.ts';
import { targetReply } from '../domain/access-replies.ts';
import { requireOn } from '../domain/requested-target.ts';
import { levelOfRole, RIGHTS, type Standing, standingOn } from '../domain/standing.ts';
import { foldersUp } from '../domain/targets.ts';

export const explainRight: AccessRoute<'explainRight'> =
  ({ database }) =>
  async ({ target: asked, right, subject, role, groups }, { identity }) => {
    if (!subject && (role !== Role.UNSPECIFIED || groups.length > 0)) {
      throw invalidArgument(
        'subject',
        'is needed with a role or groups; without any of them it is the caller',
      );
    }
    // With a role or groups of its own it is somebody else under the same name: another key of the same owner.
    const isSelf =
      subject === '' || (subject === identity.subject && role === Role.UNSPECIFIED && groups.length === 0);
    const who: Identity = isSelf ? identity : { subject, tenant: identity.tenant, role, groups };
    return database.read(async (em) => {
      const { case: kind, value = '' } = asked!.target;
      // A folder is no secret by its name: it need not even hold anything.
      const targets =
        kind === 'folder' && isSelf
          ? foldersUp(value)
          : await requireOn(em, identity, asked!, isSelf ? 'viewer' : 'owner');
      const standing = await standingOn(em, who, targets);
      const allowed = standing.level >= right;
      return {
        ...{ allowed, right: standing.level, reasons: reasons(who, standing, right) },
        policies: policies(who, standing, right),
        ...(standing.restrictedBy ? { restrictedBy: targetReply(standing.restrictedBy) } : {}),
      };
    });
  };

function reasons({ role }: Identity, standing: Standing, right: number): string[] {
  const { level, restrictedBy, grant } = standing;
  const name = Role[role]?.toLowerCase() ?? 'none';
  const byRole = RIGHTS[levelOfRole(role)]!;
  const isAdmin = roleReaches(role, Role.ADMIN);
  return [
    restrictedBy
      ? `${restrictedBy} is restricted: grants alone count`
      : 'nothing is restricted: roles count too',
    restrictedBy && !isAdmin
      ? `the role ${name} does not count`
      : `the role ${name} has the right ${byRole}${isAdmin ? ', restricted or not; that is recorded' : ''}`,
    grant
      ? `${grant.grantee} was given ${RIGHTS[grant.level]!} on ${grant.target}`
      : 'nothing was granted to this caller or its groups',
    `has ${RIGHTS[level]!}, which ${level >= right ? 'reaches' : 'does not reach'} ${RIGHTS[right]!}`,
  ];
}

/** What each allows it by itself. */
function policies({ role }: Identity, { restrictedBy, grant }: Standing, right: number): string[] {
  const isAdmin = roleReaches(role, Role.ADMIN);
  const byRole = isAdmin || (!restrictedBy && levelOfRole(role) >= right);
  return [
    ...(byRole ? [isAdmin ? 'administrator' : 'role'] : []),
    ...(grant && grant.level >= right ? [`grant:${grant.grantee}`] : []),
  ];
}
