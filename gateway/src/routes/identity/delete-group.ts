import { create } from '@bufbuild/protobuf';
import {
  type DeleteGroupRequest,
  type DeleteGroupResponse,
  DeleteGroupResponseSchema,
} from '@landfall/proto/landfall/gateway/v1/identity_service_pb.js';
import type { OwnRoute } from '../../context.ts';
import { GroupSchema } from '../../db/identity-entities.ts';
import { audit } from '../../domain/audit.ts';

/** Safe to repeat by its nature. */
export const deleteGroup: OwnRoute<DeleteGroupRequest, DeleteGroupResponse> =
  ({ database, callers }) =>
  async ({ name }, caller) => {
    const { tenant } = caller;
    await database.transaction(async (em) => {
      const gone = await em.nativeDelete(GroupSchema, { tenant, name });
      if (gone === 0) return;
      await audit(em, caller, 'landfall.gateway.v1.IdentityService/DeleteGroup', `groups/${name}`);
    });
    callers.forget();
    return create(DeleteGroupResponseSchema);
  };
