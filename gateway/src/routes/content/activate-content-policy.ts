import { create } from '@bufbuild/protobuf';
import { once } from '@landfall/common/db/idempotency.ts';
import { notFound } from '@landfall/common/errors/errors.ts';
import {
  type ActivateContentPolicyRequest,
  ActivateContentPolicyRequestSchema,
  type ActivateContentPolicyResponse,
  ActivateContentPolicyResponseSchema,
} from '@landfall/proto/landfall/gateway/v1/content_service_pb.js';
import { invalidate } from '../../cache/changes.ts';
import type { OwnRoute } from '../../context.ts';
import { ActiveContentPolicySchema, ContentPolicySchema } from '../../db/content-entities.ts';
import { audit } from '../../domain/audit.ts';
import { versionReply } from './version-reply.ts';

const METHOD = 'landfall.gateway.v1.ContentService/ActivateContentPolicy';

export const activateContentPolicy: OwnRoute<ActivateContentPolicyRequest, ActivateContentPolicyResponse> =
  ({ database, contentPolicies, cache }) =>
  async (request, caller) => {
    const { tenant } = caller;
    const { requestId } = request;
    const version = Number(request.version);
    const input = ActivateContentPolicyRequestSchema;
    const call = { tenant, method: METHOD, requestId, input, output: ActivateContentPolicyResponseSchema };
    const reply = await database.transaction((em) =>
      once(em, call, request, async () => {
        const kept = await em.findOne(ContentPolicySchema, { tenant, version });
        if (!kept) throw notFound(`the content policy has no version ${version}`);
        await em.upsert(ActiveContentPolicySchema, { tenant, version });
        await audit(em, caller, METHOD, `content-policies/${version}`);
        await invalidate(em, { tenant, cause: 'content_policy.changed', model: '' });
        return create(ActivateContentPolicyResponseSchema, { version: versionReply(kept, version) });
      }),
    );
    contentPolicies.forget(tenant);
    await cache.refresh(tenant);
    return reply;
  };
