import { create, toJsonString } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { once } from '@landfall/common/db/idempotency.ts';
import { failedPrecondition } from '@landfall/common/errors/errors.ts';
import { ScoringPolicySchema } from '@landfall/proto/landfall/prompt/v1/log_policy_pb.js';
import {
  PromptLogService,
  SetScoringPolicyResponseSchema,
} from '@landfall/proto/landfall/prompt/v1/log_service_pb.js';
import type { LogRoute } from '../../context.ts';
import { ScoringPolicySchema as ScoringPolicyRows } from '../../db/log-entities.ts';
import { accessCall } from '../../domain/access-call.ts';
import { onRecord, record } from '../../domain/audit.ts';
import { requireRight } from '../../domain/rights.ts';
import { checkScoringPolicy } from '../../domain/scoring-check.ts';
import { promptTarget } from '../../domain/targets.ts';

/** Each policy costs every invocation some work. */
const MOST = 16;

export const setScoringPolicy: LogRoute<'setScoringPolicy'> =
  (context) =>
  async (request, { identity }) => {
    const { tenant, subject } = identity;
    const asked = request.policy!;
    checkScoringPolicy(asked);
    const { prompt, name } = asked;
    const call = accessCall(PromptLogService.method.setScoringPolicy, identity, request.requestId);
    const change = {
      tenant,
      subject,
      action: 'scoring.policy.set',
      target: promptTarget(prompt),
      item: name,
    };
    // What has ended before is not scored.
    await context.log.settled().catch(() => {});
    return onRecord(context, change, async (em) => {
      await requireRight(em, identity, prompt, 'editor');
      return once(em, call, request, async () => {
        if ((await em.count(ScoringPolicyRows, { tenant, prompt, name: { $ne: name } })) >= MOST) {
          throw failedPrecondition(
            `the prompt has ${MOST} scoring policies; delete one, or add functions to one`,
          );
        }
        const changeTime = timestampFromMs(Date.now());
        const policy = create(ScoringPolicySchema, { ...asked, author: subject, changeTime });
        const content = toJsonString(ScoringPolicySchema, policy);
        await em.upsert(ScoringPolicyRows, { tenant, prompt, name, content });
        await record(em, change);
        return create(SetScoringPolicyResponseSchema, { policy });
      });
    });
  };
