import { type DescMethod, getOption } from '@bufbuild/protobuf';
import { permissionDenied, resourceExhausted } from '@landfall/common/errors/errors.ts';
import { type Identity, roleReaches } from '@landfall/common/identity/identity.ts';
import { Role, role as roleOption } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import type { GatewayContext } from '../context.ts';

/** A caller who was let in; `release` gives the place back. */
export interface Admitted {
  caller: Identity;
  release: () => void;
}

/**
 * Key, role and rate, before a byte of the body is read.
 * @throws LandfallError UNAUTHENTICATED, PERMISSION_DENIED, RESOURCE_EXHAUSTED
 */
export async function admit(
  { keys, policies, limiter }: GatewayContext,
  authorization: string | null,
  method: DescMethod,
): Promise<Admitted> {
  const caller = await keys.authenticate(authorization);
  const needed = getOption(method, roleOption);
  if (!roleReaches(caller.role, needed)) {
    throw permissionDenied(
      `${method.parent.typeName}/${method.name} needs the role ${Role[needed]?.toLowerCase()}`,
    );
  }
  const admission = limiter.admit(caller.subject, await policies.rate(caller.tenant));
  if (!admission.admitted) {
    const { retryAfterMs, limit } = admission;
    throw resourceExhausted(`the limit of ${limit} is reached; try again later`, {
      retryAfterMs,
      reason: 'RATE_LIMIT',
    });
  }
  return { caller, release: admission.release };
}
