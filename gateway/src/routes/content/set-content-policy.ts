import { create, toJsonString } from '@bufbuild/protobuf';
import { once } from '@landfall/common/db/idempotency.ts';
import { ContentPolicySchema as PolicyMessage } from '@landfall/proto/landfall/gateway/v1/content_pb.js';
import {
  type SetContentPolicyRequest,
  SetContentPolicyRequestSchema,
  type SetContentPolicyResponse,
  SetContentPolicyResponseSchema,
} from '@landfall/proto/landfall/gateway/v1/content_service_pb.js';
import { invalidate } from '../../cache/changes.ts';
import { CompiledPolicy } from '../../content/policy.ts';
import type { OwnRoute } from '../../context.ts';
import { ActiveContentPolicySchema, ContentPolicySchema } from '../../db/content-entities.ts';
import { audit } from '../../domain/audit.ts';
import { versionReply } from './version-reply.ts';

const METHOD = 'landfall.gateway.v1.ContentService/SetContentPolicy';

export const setContentPolicy: OwnRoute<SetContentPolicyRequest, SetContentPolicyResponse> =
  ({ database, contentPolicies, cache }) =>
  async (request, caller) => {
    const { tenant, subject } = caller;
    const { requestId } = request;
    const policy = request.policy!;
    // What can't decide is refused here, before it is kept.
    new CompiledPolicy(policy, 0);
    const input = SetContentPolicyRequestSchema;
    const call = { tenant, method: METHOD, requestId, input, output: SetContentPolicyResponseSchema };
    const reply = await database.transaction((em) =>
      once(em, call, request, async () => {
        const newest = await em.findOne(ContentPolicySchema, { tenant }, { orderBy: { version: 'desc' } });
        const version = (newest?.version ?? 0) + 1;
        const body = toJsonString(PolicyMessage, policy);
        const kept = { tenant, version, body, author: subject, createdMs: Date.now() };
        await em.insert(ContentPolicySchema, kept);
        await em.upsert(ActiveContentPolicySchema, { tenant, version });
        await audit(em, caller, METHOD, `content-policies/${version}`);
        await invalidate(em, { tenant, cause: 'content_policy.changed', model: '' });
        return create(SetContentPolicyResponseSchema, { version: versionReply(kept, version) });
      }),
    );
    contentPolicies.forget(tenant);
    await cache.refresh(tenant);
    return reply;
  };
