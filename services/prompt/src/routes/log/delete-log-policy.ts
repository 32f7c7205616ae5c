import { create } from '@bufbuild/protobuf';
import { once } from '@landfall/common/db/idempotency.ts';
import {
  DeleteLogPolicyResponseSchema,
  PromptLogService,
} from '@landfall/proto/landfall/prompt/v1/log_service_pb.js';
import type { LogRoute } from '../../context.ts';
import { LogPolicySchema } from '../../db/log-entities.ts';
import { accessCall } from '../../domain/access-call.ts';
import { onRecord, record } from '../../domain/audit.ts';
import { requireOn, targetOf } from '../../domain/requested-target.ts';

export const deleteLogPolicy: LogRoute<'deleteLogPolicy'> =
  (context) =>
  (request, { identity }) => {
    const { tenant, subject } = identity;
    const target = targetOf(request.target!);
    const call = accessCall(PromptLogService.method.deleteLogPolicy, identity, request.requestId);
    const change = { tenant, subject, action: 'log.policy.deleted', target };
    return onRecord(context, change, async (em) => {
      await requireOn(em, identity, request.target!, 'owner');
      return once(em, call, request, async () => {
        if ((await em.nativeDelete(LogPolicySchema, { tenant, target })) > 0) await record(em, change);
        return create(DeleteLogPolicyResponseSchema, {});
      });
    });
  };
