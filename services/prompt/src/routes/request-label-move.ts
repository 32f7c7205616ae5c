import { create } from '@bufbuild/protobuf';
import { once } from '@landfall/common/db/idempotency.ts';
import {
  PromptAccessService,
  RequestLabelMoveResponseSchema,
} from '@landfall/proto/landfall/prompt/v1/access_service_pb.js';
import type { AccessRoute } from '../context.ts';
import { accessCall } from '../domain/access-call.ts';
import { moveReply } from '../domain/access-replies.ts';
import { requestMove } from '../domain/ask-for-move.ts';
import { onRecord } from '../domain/audit.ts';
import { requireRight } from '../domain/rights.ts';
import { promptTarget } from '../domain/targets.ts';

const WEEK_S = 604_800n;

export const requestLabelMove: AccessRoute<'requestLabelMove'> =
  (context) =>
  async (request, { identity }) => {
    const { name, label, version, reason, requestId } = request;
    const { tenant, subject } = identity;
    const call = accessCall(PromptAccessService.method.requestLabelMove, identity, requestId);
    const target = promptTarget(name);
    const attempt = {
      tenant,
      subject,
      action: 'move.requested',
      target,
      item: label,
      after: version,
      reason,
    };
    const { seconds, nanos } = request.expireAfter ?? { seconds: WEEK_S, nanos: 0 };
    return onRecord(context, attempt, async (em) => {
      const prompt = await requireRight(em, identity, name, 'editor');
      return once(em, call, request, async () => {
        const waitMs = Number(seconds) * 1000 + Math.floor(nanos / 1e6);
        const row = await requestMove(em, prompt, { label, version, author: subject, reason }, waitMs);
        return create(RequestLabelMoveResponseSchema, { move: await moveReply(em, row) });
      });
    });
  };
