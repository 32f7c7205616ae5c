import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';

/** Who calls, as the gateway (or a service, for its own work) has vouched for. */
export interface Identity {
  /** `key:UUID` or `service:NAME`. */
  subject: string;
  /** Everything that a caller sees belongs to its tenant. */
  tenant: string;
  role: Role;
}

const ORDER = [Role.VIEWER, Role.INVOKER, Role.EDITOR, Role.ADMIN, Role.SERVICE];

/** Whether a role reaches what a method asks for: viewer < invoker < editor < admin < service. */
export function roleReaches(role: Role, needed: Role): boolean {
  if (needed === Role.PUBLIC) return true;
  const want = ORDER.indexOf(needed);
  // A method that declares no role is closed to everyone.
  return want >= 0 && ORDER.indexOf(role) >= want;
}
