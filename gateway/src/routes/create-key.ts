import { create } from '@bufbuild/protobuf';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import { once } from '@landfall/common/db/idempotency.ts';
import { invalidArgument, permissionDenied } from '@landfall/common/errors/errors.ts';
import { roleReaches } from '@landfall/common/identity/identity.ts';
import {
  type CreateKeyRequest,
  CreateKeyRequestSchema,
  type CreateKeyResponse,
  CreateKeyResponseSchema,
} from '@landfall/proto/landfall/gateway/v1/admin_service_pb.js';
import type { AdminRoute } from '../context.ts';
import { audit } from '../domain/audit.ts';
import { keyReply } from '../domain/key-reply.ts';

const METHOD = 'landfall.gateway.v1.AdminService/CreateKey';

export const createKey: AdminRoute<CreateKeyRequest, CreateKeyResponse> =
  ({ database, keys }) =>
  async (request, caller) => {
    if (!roleReaches(caller.role, request.role)) {
      throw permissionDenied('a key cannot be given a role above that of the one who makes it');
    }
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
        });
        await audit(em, caller, METHOD, `keys/${key.id}`);
        fresh = secret;
        return create(CreateKeyResponseSchema, { key: keyReply(key) });
      }),
    );
    reply.secret = fresh;
    return reply;
  };
