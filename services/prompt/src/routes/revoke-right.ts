import { create } from '@bufbuild/protobuf';
import { once } from '@landfall/common/db/idempotency.ts';
import {
  PromptAccessService,
  RevokeRightResponseSchema,
} from '@landfall/proto/landfall/prompt/v1/access_service_pb.js';
import type { AccessRoute } from '../context.ts';
import { accessCall } from '../domain/access-call.ts';
import { onRecord } from '../domain/audit.ts';
import { revoke } from '../domain/grants.ts';
import { requireOn, targetOf } from '../domain/requested-target.ts';

export const revokeRight: AccessRoute<'revokeRight'> =
  (context) =>
  async (request, { identity }) => {
    const { grantee, requestId } = request;
    const { tenant, subject } = identity;
    const target = targetOf(request.target!);
    const call = accessCall(PromptAccessService.method.revokeRight, identity, requestId);
    const attempt = { tenant, subject, action: 'right.revoked', target, item: grantee, after: 'none' };
    return onRecord(context, attempt, async (em) => {
      const targets = await requireOn(em, identity, request.target!, 'owner');
      return once(em, call, request, async () =>
        create(RevokeRightResponseSchema, { revoked: await revoke(em, identity, targets, grantee) }),
      );
    });
  };
