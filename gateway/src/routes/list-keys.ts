import { create } from '@bufbuild/protobuf';
import { afterKey, page, pageSize, UUID } from '@landfall/common/rpc/pages.ts';
import {
  type ListKeysRequest,
  type ListKeysResponse,
  ListKeysResponseSchema,
} from '@landfall/proto/landfall/gateway/v1/admin_service_pb.js';
import type { OwnRoute } from '../context.ts';
import { ApiKeySchema } from '../db/entities.ts';
import { keyReply } from '../domain/key-reply.ts';

export const listKeys: OwnRoute<ListKeysRequest, ListKeysResponse> =
  ({ database }) =>
  async (request, { tenant }) => {
    const size = pageSize(request.pageSize);
    const after = afterKey(request.pageToken, UUID);
    const live = { revokedMs: null, $or: [{ expiresMs: null }, { expiresMs: { $gt: Date.now() } }] };
    const where = {
      tenant,
      ...(after ? { id: { $lt: after } } : {}),
      ...(request.includeEnded ? {} : live),
    };
    const found = await database.read((em) =>
      em.find(ApiKeySchema, where, { orderBy: { id: 'desc' }, limit: size + 1 }),
    );
    const { rows, nextPageToken } = page(found, size, ({ id }) => id);
    return create(ListKeysResponseSchema, { keys: rows.map(keyReply), nextPageToken });
  };
