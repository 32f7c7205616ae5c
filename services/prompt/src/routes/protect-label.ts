import { create } from '@bufbuild/protobuf';
import { once } from '@landfall/common/db/idempotency.ts';
import {
  PromptAccessService,
  ProtectLabelResponseSchema,
} from '@landfall/proto/landfall/prompt/v1/access_service_pb.js';
import type { AccessRoute } from '../context.ts';
import { accessCall } from '../domain/access-call.ts';
import { protectionReply } from '../domain/access-replies.ts';
import { onRecord } from '../domain/audit.ts';
import { protect } from '../domain/protect.ts';
import { requireOn, targetOf } from '../domain/requested-target.ts';

export const protectLabel: AccessRoute<'protectLabel'> =
  (context) =>
  async (request, { identity }) => {
    const { label, requestId } = request;
    const { tenant, subject } = identity;
    const target = targetOf(request.target!);
    const call = accessCall(PromptAccessService.method.protectLabel, identity, requestId);
    const attempt = { tenant, subject, action: 'label.protected', target, item: label };
    return onRecord(context, attempt, async (em) => {
      const targets = await requireOn(em, identity, request.target!, 'owner');
      return once(em, call, request, async () =>
        create(ProtectLabelResponseSchema, {
          protection: protectionReply(await protect(em, identity, targets, request)),
        }),
      );
    });
  };
