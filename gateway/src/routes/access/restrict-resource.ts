import { create } from '@bufbuild/protobuf';
import {
  type RestrictResourceRequest,
  type RestrictResourceResponse,
  RestrictResourceResponseSchema,
} from '@landfall/proto/landfall/gateway/v1/access_service_pb.js';
import { keepWithinLimits } from '../../access/rule-limits.ts';
import type { OwnRoute } from '../../context.ts';
import { RestrictionSchema } from '../../db/access-entities.ts';
import { audit } from '../../domain/audit.ts';

/** Safe to repeat by its nature. */
export const restrictResource: OwnRoute<RestrictResourceRequest, RestrictResourceResponse> =
  ({ database, callers }) =>
  async ({ resource, restricted }, caller) => {
    const { tenant } = caller;
    await database.transaction(async (em) => {
      if (restricted) {
        await em.upsert(RestrictionSchema, { tenant, resource });
        await keepWithinLimits(em, tenant);
      } else await em.nativeDelete(RestrictionSchema, { tenant, resource });
      await audit(em, caller, 'landfall.gateway.v1.AccessService/RestrictResource', resource);
    });
    callers.forget();
    return create(RestrictResourceResponseSchema);
  };
