import { create } from '@bufbuild/protobuf';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import { once } from '@landfall/common/db/idempotency.ts';
import { failedPrecondition, invalidArgument, permissionDenied } from '@landfall/common/errors/errors.ts';
import {
  type CreateKeyRequest,
  CreateKeyRequestSchema,
  type CreateKeyResponse,
  CreateKeyResponseSchema,
} from '@landfall/proto/landfall/gateway/v1/admin_service_pb.js';
import { levelName } from '../access/actions.ts';
import { allowanceOf, isWithin } from '../access/role-table.ts';
import { allowanceOfCaller, requireRolesWithin, requireScopesWithin } from '../access/within.ts';
import type { OwnRoute } from '../context.ts';
import { audit } from '../domain/audit.ts';
import { keyReply } from '../domain/key-reply.ts';
import type { Principals } from '../identity/principals.ts';

const METHOD = 'landfall.gateway.v1.AdminService/CreateKey';

export const createKey: OwnRoute<CreateKeyRequest, CreateKeyResponse> =
  ({ database, keys, principals }) =>
  async (request, caller) => {
    requireRolesWithin(caller, rolesAsked(request), request.roles.length > 0 ? 'roles' : 'role');
    requireScopesWithin(caller, request.scopes);
    if (request.owner) await requireWithinOwner(principals, caller.tenant, request);
    const expiresMs = request.expireTime ? timestampMs(request.expireTime) : null;
    if (expiresMs !== null && expiresMs <= Date.now()) throw invalidArgument('expire_time', 'is in the past');
    const { tenant } = caller;
    const call = {
      tenant,
      method: METHOD,
      requestId: request.requestId,
      input: CreateKeyRequestSchema,
      output: CreateKeyResponseSchema,
    };
    // What is kept for a repeat is the answer without the secret; the secret leaves once.
    let fresh = '';
    const reply = await database.transaction((em) =>
      once(em, call, request, async () => {
        const { key, secret } = await keys.make(em, {
          tenant,
          name: request.name,
          role: request.role,
          expiresMs,
          groups: request.groups,
          roles: request.roles,
          scopes: request.scopes,
          owner: request.owner,
        });
        await audit(em, caller, METHOD, `keys/${key.id}`);
        fresh = secret;
        return create(CreateKeyResponseSchema, { key: keyReply(key) });
      }),
    );
    reply.secret = fresh;
    return reply;
  };

const rolesAsked = ({ role, roles }: CreateKeyRequest): readonly string[] =>
  roles.length > 0 ? roles : [levelName(role)];

/** It could do no more in any case; a key that would not do what it says is a mistake. */
async function requireWithinOwner(
  principals: Principals,
  tenant: string,
  request: CreateKeyRequest,
): Promise<void> {
  const owner = await principals.kept(tenant, request.owner);
  if (!owner) {
    throw failedPrecondition(`${request.owner} is not kept here, or disabled; SetMember keeps them`, {
      reason: 'NO_OWNER',
    });
  }
  if (!isWithin(allowanceOf(rolesAsked(request)), allowanceOfCaller(owner))) {
    throw permissionDenied(`${request.owner} does not have what the key would allow`, {
      reason: 'ROLE_BEYOND_OWNER',
    });
  }
}
