import type { Identity } from '@landfall/common/identity/identity.ts';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';

/** Who the trainer is when it works for a tenant in the background. */
export function trainerIdentity(tenant: string): Identity {
  return { subject: 'service:trainer', tenant, role: Role.SERVICE };
}
