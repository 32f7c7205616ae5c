import { create } from '@bufbuild/protobuf';
import {
  type GetCachePolicyRequest,
  type GetCachePolicyResponse,
  GetCachePolicyResponseSchema,
} from '@landfall/proto/landfall/gateway/v1/cache_service_pb.js';
import type { OwnRoute } from '../../context.ts';
import { CachePolicySchema } from '../../db/cache-entities.ts';
import { policyReply } from './policy-reply.ts';

export const getCachePolicy: OwnRoute<GetCachePolicyRequest, GetCachePolicyResponse> =
  ({ database }) =>
  async (_request, { tenant }) => {
    const kept = await database.read((em) => em.findOne(CachePolicySchema, { tenant }));
    return create(GetCachePolicyResponseSchema, { policy: policyReply(kept) });
  };
