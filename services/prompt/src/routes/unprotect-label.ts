import { create } from '@bufbuild/protobuf';
import { once } from '@landfall/common/db/idempotency.ts';
import {
  PromptAccessService,
  UnprotectLabelResponseSchema,
} from '@landfall/proto/landfall/prompt/v1/access_service_pb.js';
import type { AccessRoute } from '../context.ts';
import { accessCall } from '../domain/access-call.ts';
import { onRecord } from '../domain/audit.ts';
import { unprotect } from '../domain/protect.ts';
import { requireOn, targetOf } from '../domain/requested-target.ts';

export const unprotectLabel: AccessRoute<'unprotectLabel'> =
  (context) =>
  async (request, { identity }) => {
    const { label, requestId } = request;
    const { tenant, subject } = identity;
    const target = targetOf(request.target!);
    const call = accessCall(PromptAccessService.method.unprotectLabel, identity, requestId);
    const attempt = { tenant, subject, action: 'label.unprotected', target, item: label };
    return onRecord(context, attempt, async (em) => {
      await requireOn(em, identity, request.target!, 'owner');
      return once(em, call, request, async () =>
        create(UnprotectLabelResponseSchema, { removed: await unprotect(em, identity, target, label) }),
      );
    });
  };
