import { create } from '@bufbuild/protobuf';
import { once } from '@landfall/common/db/idempotency.ts';
import {
  DeleteScoringPolicyResponseSchema,
  PromptLogService,
} from '@landfall/proto/landfall/prompt/v1/log_service_pb.js';
import type { LogRoute } from '../../context.ts';
import { ScoringPolicySchema } from '../../db/log-entities.ts';
import { accessCall } from '../../domain/access-call.ts';
import { onRecord, record } from '../../domain/audit.ts';
import { requireRight } from '../../domain/rights.ts';
import { promptTarget } from '../../domain/targets.ts';

export const deleteScoringPolicy: LogRoute<'deleteScoringPolicy'> =
  (context) =>
  (request, { identity }) => {
    const { tenant, subject } = identity;
    const { prompt, name } = request;
    const call = accessCall(PromptLogService.method.deleteScoringPolicy, identity, request.requestId);
    const change = {
      tenant,
      subject,
      action: 'scoring.policy.deleted',
      target: promptTarget(prompt),
      item: name,
    };
    return onRecord(context, change, async (em) => {
      await requireRight(em, identity, prompt, 'editor');
      return once(em, call, request, async () => {
        const deleted = await em.nativeDelete(ScoringPolicySchema, { tenant, prompt, name });
        if (deleted > 0) await record(em, change);
        return create(DeleteScoringPolicyResponseSchema, {});
      });
    });
  };
