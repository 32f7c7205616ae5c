import { create } from '@bufbuild/protobuf';
import { once } from '@landfall/common/db/idempotency.ts';
import { permissionDenied } from '@landfall/common/errors/errors.ts';
import { LabelMoveState } from '@landfall/proto/landfall/prompt/v1/access_pb.js';
import {
  PromptAccessService,
  WithdrawLabelMoveResponseSchema,
} from '@landfall/proto/landfall/prompt/v1/access_service_pb.js';
import type { AccessRoute } from '../context.ts';
import { accessCall } from '../domain/access-call.ts';
import { moveReply } from '../domain/access-replies.ts';
import { findRequest, requestChanged, requirePending } from '../domain/move-requests.ts';
import { requireRequest } from '../domain/rights-on-moves.ts';
import { lockPrompt } from '../domain/versions.ts';

export const withdrawLabelMove: AccessRoute<'withdrawLabelMove'> =
  ({ database }) =>
  async (request, { identity }) => {
    const { id, reason, requestId } = request;
    const { tenant, subject } = identity;
    const call = accessCall(PromptAccessService.method.withdrawLabelMove, identity, requestId);
    return database.transaction(async (em) => {
      const { prompt, row: seen, isOwner } = await requireRequest(em, identity, id);
      if (seen.author !== subject && !isOwner) {
        throw permissionDenied('who asked for a move takes it back, or an owner', {
          reason: 'RIGHT_MISSING',
        });
      }
      return once(em, call, request, async () => {
        await lockPrompt(em, prompt);
        const row = await findRequest(em, tenant, id);
        requirePending(row);
        const action = 'move.withdrawn';
        await requestChanged(em, row, { state: LabelMoveState.WITHDRAWN, subject, action, reason });
        return create(WithdrawLabelMoveResponseSchema, { move: await moveReply(em, row) });
      });
    });
  };
