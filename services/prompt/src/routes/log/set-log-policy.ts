import { create } from '@bufbuild/protobuf';
import { durationMs } from '@bufbuild/protobuf/wkt';
import { once } from '@landfall/common/db/idempotency.ts';
import {
  PromptLogService,
  SetLogPolicyResponseSchema,
} from '@landfall/proto/landfall/prompt/v1/log_service_pb.js';
import { LogContent } from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';
import type { LogRoute } from '../../context.ts';
import { LogPolicySchema } from '../../db/log-entities.ts';
import { accessCall } from '../../domain/access-call.ts';
import { onRecord, record } from '../../domain/audit.ts';
import { logPolicyReply } from '../../domain/log-policies.ts';
import { requireOn, targetOf } from '../../domain/requested-target.ts';

export const setLogPolicy: LogRoute<'setLogPolicy'> =
  (context) =>
  (request, { identity }) => {
    const { target: asked, content, keepFor } = request.policy!;
    const { tenant, subject } = identity;
    const target = targetOf(asked!);
    const call = accessCall(PromptLogService.method.setLogPolicy, identity, request.requestId);
    const row = {
      ...{ tenant, target, author: subject, changedMs: Date.now() },
      content: content || LogContent.ALL,
      keepForMs: keepFor ? durationMs(keepFor) : null,
    };
    const after = `${LogContent[row.content]} ${row.keepForMs === null ? 'for ever' : `for ${row.keepForMs / 1000} s`}`;
    const change = { tenant, subject, action: 'log.policy.set', target, after };
    return onRecord(context, change, async (em) => {
      await requireOn(em, identity, asked!, 'owner');
      return once(em, call, request, async () => {
        await em.upsert(LogPolicySchema, row);
        await record(em, change);
        return create(SetLogPolicyResponseSchema, { policy: logPolicyReply(row) });
      });
    });
  };
