import { create } from '@bufbuild/protobuf';
import { once } from '@landfall/common/db/idempotency.ts';
import {
  PromptAccessService,
  RestrictAccessResponseSchema,
} from '@landfall/proto/landfall/prompt/v1/access_service_pb.js';
import type { AccessRoute } from '../context.ts';
import { accessCall } from '../domain/access-call.ts';
import { accessChanged, lockAccess } from '../domain/access-changes.ts';
import { onRecord } from '../domain/audit.ts';
import { requireOn, targetOf } from '../domain/requested-target.ts';
import { standingOn } from '../domain/standing.ts';

export const restrictAccess: AccessRoute<'restrictAccess'> =
  (context) =>
  async (request, { identity }) => {
    const { restricted, requestId } = request;
    const { tenant, subject } = identity;
    const target = targetOf(request.target!);
    const call = accessCall(PromptAccessService.method.restrictAccess, identity, requestId);
    const action = restricted ? 'access.restricted' : 'access.opened';
    return onRecord(context, { tenant, subject, action, target }, async (em) => {
      const targets = await requireOn(em, identity, request.target!, 'owner');
      return once(em, call, request, async () => {
        const row = await lockAccess(em, tenant, target);
        if (row.restricted !== restricted) {
          row.restricted = restricted;
          await accessChanged(em, row, { tenant, subject, action, target });
        }
        const { restrictedBy } = await standingOn(em, identity, targets);
        return create(RestrictAccessResponseSchema, { restricted: restrictedBy !== undefined });
      });
    });
  };
