import { create } from '@bufbuild/protobuf';
import {
  type SetGroupRequest,
  type SetGroupResponse,
  SetGroupResponseSchema,
} from '@landfall/proto/landfall/gateway/v1/identity_service_pb.js';
import { requireRolesWithin } from '../../access/within.ts';
import type { OwnRoute } from '../../context.ts';
import { GroupSchema, lines } from '../../db/identity-entities.ts';
import { audit } from '../../domain/audit.ts';
import { groupReply } from '../../domain/identity-replies.ts';

/** Safe to repeat by its nature. */
export const setGroup: OwnRoute<SetGroupRequest, SetGroupResponse> =
  ({ database, callers }) =>
  async (request, caller) => {
    const { name, roles } = request.group!;
    requireRolesWithin(caller, roles, 'group.roles');
    const row = { tenant: caller.tenant, name, roles: lines(roles) };
    await database.transaction(async (em) => {
      await em.upsert(GroupSchema, row);
      await audit(em, caller, 'landfall.gateway.v1.IdentityService/SetGroup', `groups/${name}`);
    });
    callers.forget();
    return create(SetGroupResponseSchema, { group: groupReply(row) });
  };
