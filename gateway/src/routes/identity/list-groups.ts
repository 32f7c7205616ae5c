import { create } from '@bufbuild/protobuf';
import { afterKey, NAME, page, pageSize } from '@landfall/common/rpc/pages.ts';
import {
  type ListGroupsRequest,
  type ListGroupsResponse,
  ListGroupsResponseSchema,
} from '@landfall/proto/landfall/gateway/v1/identity_service_pb.js';
import type { OwnRoute } from '../../context.ts';
import { GroupSchema } from '../../db/identity-entities.ts';
import { groupReply } from '../../domain/identity-replies.ts';

export const listGroups: OwnRoute<ListGroupsRequest, ListGroupsResponse> =
  ({ database }) =>
  async (request, { tenant }) => {
    const size = pageSize(request.pageSize);
    const where = { tenant, name: { $gt: afterKey(request.pageToken, NAME) ?? '' } };
    const found = await database.read((em) =>
      em.find(GroupSchema, where, { orderBy: { name: 'asc' }, limit: size + 1 }),
    );
    const { rows, nextPageToken } = page(found, size, ({ name }) => name);
    return create(ListGroupsResponseSchema, { groups: rows.map(groupReply), nextPageToken });
  };
