import { create } from '@bufbuild/protobuf';
import { notFound } from '@landfall/common/errors/errors.ts';
import {
  type RevokeKeyRequest,
  type RevokeKeyResponse,
  RevokeKeyResponseSchema,
} from '@landfall/proto/landfall/gateway/v1/admin_service_pb.js';
import type { OwnRoute } from '../context.ts';
import { ApiKeySchema } from '../db/entities.ts';
import { audit } from '../domain/audit.ts';
import { keyReply } from '../domain/key-reply.ts';

/** Safe to repeat by its nature: a revoked key stays revoked. */
export const revokeKey: OwnRoute<RevokeKeyRequest, RevokeKeyResponse> =
  ({ database, callers }) =>
  async ({ id }, caller) => {
    const key = await database.transaction(async (em) => {
      const found = await em.findOne(ApiKeySchema, { id, tenant: caller.tenant });
      if (!found) throw notFound('no key with this id');
      if (found.revokedMs === null) {
        found.revokedMs = Date.now();
        await audit(em, caller, 'landfall.gateway.v1.AdminService/RevokeKey', `keys/${id}`);
      }
      return found;
    });
    callers.forget();
    return create(RevokeKeyResponseSchema, { key: keyReply(key) });
  };
