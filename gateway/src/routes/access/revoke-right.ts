import { create } from '@bufbuild/protobuf';
import {
  type RevokeRightRequest,
  type RevokeRightResponse,
  RevokeRightResponseSchema,
} from '@landfall/proto/landfall/gateway/v1/access_service_pb.js';
import type { OwnRoute } from '../../context.ts';
import { ResourceGrantSchema } from '../../db/access-entities.ts';
import { audit } from '../../domain/audit.ts';

/** Safe to repeat by its nature. */
export const revokeRight: OwnRoute<RevokeRightRequest, RevokeRightResponse> =
  ({ database, callers }) =>
  async ({ resource, grantee }, caller) => {
    const { tenant } = caller;
    await database.transaction(async (em) => {
      if ((await em.nativeDelete(ResourceGrantSchema, { tenant, resource, grantee })) === 0) return;
      await audit(em, caller, 'landfall.gateway.v1.AccessService/RevokeRight', resource);
    });
    callers.forget();
    return create(RevokeRightResponseSchema);
  };
