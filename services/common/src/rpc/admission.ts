import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { unauthenticated } from '../errors/errors.ts';
import { requireMethod, requireResources } from '../identity/check.ts';
import type { Identity } from '../identity/identity.ts';
import { IDENTITY_KEY, type IdentitySigner } from '../identity/signer.ts';
import type { CallScope } from './call-scope.ts';
import type { Malformed } from './definition.ts';
import type { Requests } from './route.ts';
import { checkRequest } from './validation.ts';

const ANONYMOUS: Identity = { subject: 'anonymous', tenant: '', role: Role.UNSPECIFIED };

/**
 * Lets a call in, or throws: identity, role, rules, resources, in this order. Asynchronous only for a token not seen before.
 * @returns the request, known to be sound (a stream is checked message by message as it is read)
 * @throws LandfallError UNAUTHENTICATED, PERMISSION_DENIED or INVALID_ARGUMENT
 */
export function admit(
  signer: IdentitySigner,
  scope: CallScope,
  request: Requests | Malformed,
): Requests | Promise<Requests> {
  const token = scope.metadata.get(IDENTITY_KEY)[0];
  if (typeof token !== 'string') {
    if (scope.route.role !== Role.PUBLIC) {
      throw unauthenticated(`the metadata key ${IDENTITY_KEY} is missing`);
    }
    return enter(scope, ANONYMOUS, request);
  }
  const verified = signer.verify(token);
  return verified instanceof Promise
    ? verified.then((identity) => enter(scope, identity, request))
    : enter(scope, verified, request);
}

function enter(scope: CallScope, identity: Identity, request: Requests | Malformed): Requests {
  const { method } = scope.route;
  scope.identity = requireMethod(identity, method);
  if (Symbol.asyncIterator in request) return request;
  const sound = checkRequest(method.input, request);
  requireResources(scope.identity, method, sound);
  return sound;
}
