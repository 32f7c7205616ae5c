import { create } from '@bufbuild/protobuf';
import { afterKey, NAME, page, pageSize } from '@landfall/common/rpc/pages.ts';
import {
  type ListTenantsRequest,
  type ListTenantsResponse,
  ListTenantsResponseSchema,
} from '@landfall/proto/landfall/gateway/v1/identity_service_pb.js';
import { requireOperator } from '../../access/operator.ts';
import type { OwnRoute } from '../../context.ts';
import { TenantSchema } from '../../db/identity-entities.ts';
import { tenantReply } from '../../domain/identity-replies.ts';

export const listTenants: OwnRoute<ListTenantsRequest, ListTenantsResponse> =
  ({ database }) =>
  async (request, caller) => {
    requireOperator(caller);
    const size = pageSize(request.pageSize);
    const where = { name: { $gt: afterKey(request.pageToken, NAME) ?? '' } };
    const found = await database.read((em) =>
      em.find(TenantSchema, where, { orderBy: { name: 'asc' }, limit: size + 1 }),
    );
    const { rows, nextPageToken } = page(found, size, ({ name }) => name);
    return create(ListTenantsResponseSchema, { tenants: rows.map(tenantReply), nextPageToken });
  };
