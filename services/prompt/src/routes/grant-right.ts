import { create } from '@bufbuild/protobuf';
import { once } from '@landfall/common/db/idempotency.ts';
import {
  GrantRightResponseSchema,
  PromptAccessService,
} from '@landfall/proto/landfall/prompt/v1/access_service_pb.js';
import type { AccessRoute } from '../context.ts';
import { accessCall } from '../domain/access-call.ts';
import { grantReply } from '../domain/access-replies.ts';
import { onRecord } from '../domain/audit.ts';
import { grant } from '../domain/grants.ts';
import { requireOn, targetOf } from '../domain/requested-target.ts';
import { RIGHTS, standingOn } from '../domain/standing.ts';

export const grantRight: AccessRoute<'grantRight'> =
  (context) =>
  async (request, { identity }) => {
    const { grantee, right, requestId } = request;
    const { tenant, subject } = identity;
    const target = targetOf(request.target!);
    const call = accessCall(PromptAccessService.method.grantRight, identity, requestId);
    const attempt = {
      tenant,
      subject,
      action: 'right.granted',
      target,
      item: grantee,
      after: RIGHTS[right]!,
    };
    return onRecord(context, attempt, async (em) => {
      const targets = await requireOn(em, identity, request.target!, 'owner');
      return once(em, call, request, async () => {
        const row = await grant(em, identity, targets, grantee, right);
        const { restrictedBy } = await standingOn(em, identity, targets);
        return create(GrantRightResponseSchema, {
          grant: grantReply(row),
          restricted: restrictedBy !== undefined,
        });
      });
    });
  };
