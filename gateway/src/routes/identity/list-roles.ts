import { create } from '@bufbuild/protobuf';
import {
  type ListRolesRequest,
  type ListRolesResponse,
  ListRolesResponseSchema,
} from '@landfall/proto/landfall/gateway/v1/identity_service_pb.js';
import { allowanceOf, ROLE_POLICIES } from '../../access/role-table.ts';
import type { OwnRoute } from '../../context.ts';

export const listRoles: OwnRoute<ListRolesRequest, ListRolesResponse> = () => async () => {
  const roles = Object.entries(ROLE_POLICIES).map(([name, policy]) => {
    const { levels, methods } = allowanceOf([name]);
    return { name, policy, levels, methods: [...methods] };
  });
  return create(ListRolesResponseSchema, { roles });
};
