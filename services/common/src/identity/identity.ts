import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';

/** Who calls, as the gateway (or a service, for its own work) has vouched for. */
export interface Identity {
  /** `key:UUID`, `user:NAME`, `account:NAME` or `service:NAME`. */
  subject: string;
  /** Everything that a caller sees belongs to its tenant. */
  tenant: string;
  /** What it may do; where `levels` are given, in the area that asks. */
  role: Role;
  /** Groups that it belongs to in its tenant, for rights that are given to groups. */
  groups?: readonly string[];
  /** Names of its roles (`ml-engineer`), for people and policies; what they allow stands in the fields below. */
  roles?: readonly string[];
  /** UUID of the key by which it acts for its owner. */
  keyId?: string;
  /** Role by area (`registry`), where it is not the same everywhere; an area that is not named is closed. */
  levels?: Readonly<Record<string, Role>>;
  /** Methods that it may call beyond its levels, by full name. */
  methods?: readonly string[];
  /** What is said of single resources. */
  rights?: readonly ResourceRight[];
  /** The only resources of their kinds that it may name (`deployments/qa`). */
  scopes?: readonly string[];
}

/** What holds for a caller on one resource. */
export interface ResourceRight {
  /** `models/NAME`, `deployments/NAME` or `collections/NAME`. */
  resource: string;
  /** Strongest grant that reaches the caller; UNSPECIFIED for none. */
  level: Role;
  /** Whether grants alone count, but for administrators. */
  restricted: boolean;
}

const ORDER = [Role.VIEWER, Role.INVOKER, Role.EDITOR, Role.ADMIN, Role.SERVICE];

/** Whether a role reaches what a method asks for: viewer < invoker < editor < admin < service. */
export function roleReaches(role: Role, needed: Role): boolean {
  if (needed === Role.PUBLIC) return true;
  const want = ORDER.indexOf(needed);
  // A method that declares no role is closed to everyone.
  return want >= 0 && ORDER.indexOf(role) >= want;
}

const inAreas = new WeakMap<Identity, Record<string, Identity>>();

/** A caller as an area of the mesh sees it: `role` is what it may do there. */
export function inArea(identity: Identity, area: string): Identity {
  const { levels } = identity;
  if (!levels) return identity;
  const known = inAreas.get(identity) ?? {};
  inAreas.set(identity, known);
  known[area] ??= { ...identity, role: Object.hasOwn(levels, area) ? levels[area]! : Role.UNSPECIFIED };
  return known[area];
}
