import { create } from '@bufbuild/protobuf';
import {
  type ListRightsRequest,
  type ListRightsResponse,
  ListRightsResponseSchema,
} from '@landfall/proto/landfall/gateway/v1/access_service_pb.js';
import type { OwnRoute } from '../../context.ts';
import { ResourceGrantSchema, RestrictionSchema } from '../../db/access-entities.ts';
import { grantReply } from '../../domain/grant-reply.ts';

export const listRights: OwnRoute<ListRightsRequest, ListRightsResponse> =
  ({ database }) =>
  async ({ resource }, { tenant }) => {
    const where = { tenant, ...(resource ? { resource } : {}) };
    return database.read(async (em) => {
      const orderBy = { resource: 'asc', grantee: 'asc' } as const;
      const grants = await em.find(ResourceGrantSchema, where, { orderBy });
      const restricted = await em.find(RestrictionSchema, where, { orderBy: { resource: 'asc' } });
      return create(ListRightsResponseSchema, {
        grants: grants.map(grantReply),
        restricted: restricted.map((each) => each.resource),
      });
    });
  };
