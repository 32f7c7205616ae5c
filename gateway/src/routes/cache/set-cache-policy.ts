import { create, toJsonString } from '@bufbuild/protobuf';
import { failedPrecondition } from '@landfall/common/errors/errors.ts';
import { CachePolicySchema as PolicyMessage } from '@landfall/proto/landfall/gateway/v1/cache_pb.js';
import {
  type SetCachePolicyRequest,
  type SetCachePolicyResponse,
  SetCachePolicyResponseSchema,
} from '@landfall/proto/landfall/gateway/v1/cache_service_pb.js';
import { invalidate } from '../../cache/changes.ts';
import type { OwnRoute } from '../../context.ts';
import { CachePolicySchema } from '../../db/cache-entities.ts';
import { audit } from '../../domain/audit.ts';
import { policyReply } from './policy-reply.ts';

const METHOD = 'landfall.gateway.v1.CacheService/SetCachePolicy';

export const setCachePolicy: OwnRoute<SetCachePolicyRequest, SetCachePolicyResponse> =
  ({ database, cache, channels }) =>
  async (request, caller) => {
    const { tenant } = caller;
    const policy = request.policy!;
    if (policy.similar?.embeddingModel && !channels.vision)
      throw failedPrecondition('policy.similar.embedding_model: this mesh has no service that embeds texts');
    const kept = await database.transaction(async (em) => {
      const before = await em.findOne(CachePolicySchema, { tenant });
      const revision = (before?.revision ?? 0) + 1;
      const row = { tenant, body: toJsonString(PolicyMessage, { ...policy, revision: 0n }), revision };
      await em.upsert(CachePolicySchema, row);
      await audit(em, caller, METHOD, 'cache-policy');
      await invalidate(em, { tenant, cause: 'cache_policy.changed', model: '' });
      return row;
    });
    await cache.refresh(tenant);
    return create(SetCachePolicyResponseSchema, { policy: policyReply(kept) });
  };
