import { create } from '@bufbuild/protobuf';
import { notFound, permissionDenied } from '@landfall/common/errors/errors.ts';
import { levelOn, mayByRole } from '@landfall/common/identity/check.ts';
import { type Identity, inArea, roleReaches } from '@landfall/common/identity/identity.ts';
import { neededOn } from '@landfall/common/identity/resources.ts';
import { type MethodRule, ruleOf } from '@landfall/common/identity/rule.ts';
import {
  type WhyAllowedRequest,
  type WhyAllowedResponse,
  WhyAllowedResponseSchema,
} from '@landfall/proto/landfall/gateway/v1/admin_service_pb.js';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { levelName } from '../access/actions.ts';
import { isOfPrompts, onPrompts } from '../access/prompt-rights.ts';
import { allowanceOf } from '../access/role-table.ts';
import { scopesHold } from '../access/scopes.ts';
import { requireKnownRoles } from '../access/within.ts';
import type { GatewayContext, OwnRoute } from '../context.ts';
import { publicMethods } from '../edge/services.ts';

export const whyAllowed: OwnRoute<WhyAllowedRequest, WhyAllowedResponse> =
  (context) => async (request, caller) => {
    const method = publicMethods.get(request.method.replace(/^\//, ''));
    if (!method) throw notFound('no such method behind this gateway; write package.Service/Method');
    const rule = ruleOf(method);
    const asked = await inQuestion(context, request, caller);
    const who = inArea(asked, rule.area);
    const byRole = mayByRole(who, rule);
    const { roles, groups } = await broughtBy(context, who, rule);
    const reasons = [ofRoles(rule, who, byRole, roles, groups)];
    let allowed = byRole;
    if (who.scopes && !scopesHold(who.scopes, rule)) {
      allowed = false;
      reasons.push(`the key is only for ${who.scopes.join(', ')}`);
    }
    const inScope = allowed === byRole;
    const { resource } = request;
    let policies: string[] = [];
    let restricted = false;
    if (isOfPrompts(resource)) {
      const decision = await onPrompts(context, caller, asked, method, resource);
      ({ policies, restricted } = decision);
      allowed &&= decision.allowed;
      reasons.push(...decision.reasons);
    } else if (resource) {
      const needed = neededOn(rule, resource);
      const rules = await context.directory.rules(who.tenant);
      const decision = context.resourcePolicies.decide(who, { resource, needed }, rules);
      const { level, byGrant } = levelOn(who, resource);
      restricted = rules.of(resource).restricted;
      policies = decision.policies;
      // A grant opens what it is on, for methods that are about it.
      const opened = byRole || (byGrant && needed === rule.needed);
      allowed = inScope && opened && decision.allowed && roleReaches(level, needed);
      reasons.push(ofResource(resource, needed, level, restricted, policies));
    }
    return create(WhyAllowedResponseSchema, {
      ...{ allowed, reason: reasons.join('; '), needed: rule.needed, level: who.role },
      ...{ roles, groups, policies, restricted },
    });
  };

/** @throws LandfallError PERMISSION_DENIED where one who is no administrator asks for others */
async function inQuestion(
  { principals, keys }: GatewayContext,
  { role, roles, subject }: WhyAllowedRequest,
  caller: Identity,
): Promise<Identity> {
  const { tenant } = caller;
  const asked = roles.length > 0 ? roles : role === Role.UNSPECIFIED ? [] : [levelName(role)];
  if (asked.length > 0) {
    requireKnownRoles(asked, 'roles');
    return principals.ofRoles(tenant, asked);
  }
  if (!subject || subject === caller.subject) return caller;
  if (!roleReaches(caller.role, Role.ADMIN)) throw permissionDenied('only administrators ask for others');
  const found = subject.startsWith('key:')
    ? await keys.identityOf(tenant, subject.slice('key:'.length))
    : await principals.kept(tenant, subject);
  if (!found) throw notFound(`${subject} is not kept here, or is disabled or has ended`);
  return found;
}

/** Roles that allow the method, and groups that bring them. */
async function broughtBy({ directory }: GatewayContext, who: Identity, rule: MethodRule) {
  const roles = (who.roles ?? []).filter((role) => {
    const { levels, methods } = allowanceOf([role]);
    return roleReaches(levels[rule.area] ?? Role.UNSPECIFIED, rule.needed) || methods.includes(rule.name);
  });
  const ofGroups = await directory.groups(who.tenant);
  const groups = (who.groups ?? []).filter((group) =>
    ofGroups.get(group)?.some((role) => roles.includes(role)),
  );
  return { roles, groups };
}

function ofRoles(
  { name, area, needed }: MethodRule,
  who: Identity,
  byRole: boolean,
  roles: readonly string[],
  groups: readonly string[],
): string {
  const asks = `${name} needs the role ${levelName(needed)}`;
  if (!byRole) {
    const has = who.roles?.length ? `${who.roles.join(', ')} (${levelName(who.role)} in ${area})` : 'no role';
    return `${asks}; ${has} does not reach it (viewer < invoker < editor < admin)`;
  }
  const by = groups.length > 0 ? ` by the group ${groups.join(', ')}` : '';
  return `${asks}; ${roles.join(', ') || levelName(who.role)}${by} reaches it`;
}

function ofResource(
  resource: string,
  needed: Role,
  level: Role,
  restricted: boolean,
  policies: readonly string[],
): string {
  const grants = policies.filter((policy) => policy.startsWith('grant:'));
  const has = level === Role.UNSPECIFIED ? 'nothing' : levelName(level);
  const by = grants.length > 0 ? ` by ${grants.join(', ')}` : '';
  const kind = restricted
    ? `${resource} is restricted to those with a grant`
    : `${resource} is not restricted`;
  return `${kind}; it takes ${levelName(needed)} on it, and they have ${has}${by}`;
}
