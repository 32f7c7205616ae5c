import type { DescMethod, Message } from '@bufbuild/protobuf';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { type LandfallError, notFound, permissionDenied } from '../errors/errors.ts';
import { type Identity, inArea, roleReaches } from './identity.ts';
import { type NamedResource, resourcesOf } from './resources.ts';
import { type MethodRule, ruleOf } from './rule.ts';

/**
 * Whether a caller may call a method at all. What is said of single resources may open it for these alone: then
 * {@link requireResources} decides, once the request is known.
 * @returns the caller as the method's area sees it
 * @throws LandfallError PERMISSION_DENIED
 */
export function requireMethod(identity: Identity, method: DescMethod): Identity {
  const rule = ruleOf(method);
  const caller = inArea(identity, rule.area);
  if (mayByRole(caller, rule) || caller.rights?.some(({ level }) => roleReaches(level, rule.needed))) {
    return caller;
  }
  throw tooLow(rule);
}

/**
 * Whether a caller who may call a method may do so with the resources that its first request names.
 * @param caller as {@link requireMethod} returned it
 * @throws LandfallError PERMISSION_DENIED, or NOT_FOUND for what the caller may not know of
 */
export function requireResources(caller: Identity, method: DescMethod, request: Message): void {
  if (!hasRules(caller)) return;
  const named = requireNamed(caller, method, request);
  const rule = ruleOf(method);
  if (mayByRole(caller, rule)) return;
  // Grants alone have let the caller in: one of them must be on what this call is about.
  const isOpened = named.some(
    ({ resource, needed }) => needed === rule.needed && levelOn(caller, resource).byGrant,
  );
  if (!isOpened) throw tooLow(rule);
}

/**
 * The same for later requests of a stream, which need not say again what it is about.
 * @returns what the request names
 */
export function requireNamed(caller: Identity, method: DescMethod, request: Message): NamedResource[] {
  if (!hasRules(caller)) return [];
  const named = resourcesOf(method, request);
  for (const each of named) requireResource(caller, each);
  return named;
}

/** Whether anything is said of single resources. */
export const hasRules = ({ rights, scopes }: Identity): boolean =>
  (rights !== undefined && rights.length > 0) || (scopes !== undefined && scopes.length > 0);

/** What a caller may do with a resource, and whether a grant says so. */
export function levelOn(caller: Identity, resource: string): { level: Role; byGrant: boolean } {
  const isOwner = roleReaches(caller.role, Role.ADMIN);
  if (!inScope(caller, resource)) return { level: Role.UNSPECIFIED, byGrant: false };
  const right = caller.rights?.find((each) => each.resource === resource);
  if (!right || isOwner) return { level: caller.role, byGrant: false };
  const byRole = right.restricted ? Role.UNSPECIFIED : caller.role;
  return right.level === Role.UNSPECIFIED || roleReaches(byRole, right.level)
    ? { level: byRole, byGrant: false }
    : { level: right.level, byGrant: true };
}

/** Whether a caller may know of all of these resources. */
export const knowsAll = (caller: Identity, resources: readonly string[]): boolean =>
  resources.every((resource) => roleReaches(levelOn(caller, resource).level, Role.VIEWER));

/** Whether roles alone let a caller, as the method's area sees it, call a method. */
export const mayByRole = ({ role, methods }: Identity, { name, needed }: MethodRule): boolean =>
  roleReaches(role, needed) || (methods?.includes(name) ?? false);

const tooLow = ({ name, needed }: MethodRule): LandfallError =>
  permissionDenied(`${name} needs the role ${Role[needed]?.toLowerCase()}`);

/** @throws LandfallError as {@link requireResources} */
export function requireResource(caller: Identity, { resource, needed }: NamedResource): void {
  const { level } = levelOn(caller, resource);
  if (roleReaches(level, needed)) return;
  throw level === Role.UNSPECIFIED ? hidden(resource) : lacking(resource, needed);
}

/** Scopes of one kind leave other kinds alone. */
function inScope({ scopes = [] }: Identity, resource: string): boolean {
  const kind = resource.slice(0, resource.indexOf('/') + 1);
  const ofKind = scopes.filter((scope) => scope.startsWith(kind));
  return ofKind.length === 0 || ofKind.includes(resource);
}

const hidden = (resource: string): LandfallError => notFound(`there is no ${resource}`);

const lacking = (resource: string, needed: Role): LandfallError =>
  permissionDenied(
    `${resource} needs the right ${Role[needed]?.toLowerCase()}; an administrator can give it by GrantRight`,
    {
      reason: 'RIGHT_MISSING',
      metadata: { resource, right: Role[needed]?.toLowerCase() ?? '' },
    },
  );
