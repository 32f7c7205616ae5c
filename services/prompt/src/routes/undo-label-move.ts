import { create } from '@bufbuild/protobuf';
import { once } from '@landfall/common/db/idempotency.ts';
import {
  PromptAccessService,
  UndoLabelMoveResponseSchema,
} from '@landfall/proto/landfall/prompt/v1/access_service_pb.js';
import type { AccessRoute } from '../context.ts';
import { accessCall } from '../domain/access-call.ts';
import { historyReply } from '../domain/access-replies.ts';
import { onRecord } from '../domain/audit.ts';
import { requireRight } from '../domain/rights.ts';
import { promptTarget } from '../domain/targets.ts';
import { undo } from '../domain/undo.ts';

export const undoLabelMove: AccessRoute<'undoLabelMove'> =
  (context) =>
  async (request, { identity }) => {
    const { name, label, revision, reason, requestId } = request;
    const { tenant, subject } = identity;
    const call = accessCall(PromptAccessService.method.undoLabelMove, identity, requestId);
    const target = promptTarget(name);
    const attempt = { tenant, subject, action: 'label.moved', target, item: label, reason };
    return onRecord(context, attempt, async (em) => {
      const prompt = await requireRight(em, identity, name, 'editor');
      return once(em, call, request, async () => {
        const entry = await undo(em, identity, prompt, { label, revision: Number(revision), reason });
        return create(UndoLabelMoveResponseSchema, { entry: historyReply(entry) });
      });
    });
  };
