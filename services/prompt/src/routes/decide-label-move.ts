import { create } from '@bufbuild/protobuf';
import { once } from '@landfall/common/db/idempotency.ts';
import {
  DecideLabelMoveResponseSchema,
  PromptAccessService,
} from '@landfall/proto/landfall/prompt/v1/access_service_pb.js';
import type { AccessRoute } from '../context.ts';
import { accessCall } from '../domain/access-call.ts';
import { moveReply } from '../domain/access-replies.ts';
import { onRecord } from '../domain/audit.ts';
import { decide } from '../domain/decide.ts';
import { requireRequest } from '../domain/rights-on-moves.ts';
import { promptTarget } from '../domain/targets.ts';

export const decideLabelMove: AccessRoute<'decideLabelMove'> =
  (context) =>
  async (request, { identity }) => {
    const { id, approve, reason, requestId } = request;
    const { tenant, subject } = identity;
    const call = accessCall(PromptAccessService.method.decideLabelMove, identity, requestId);
    const { row } = await context.database.read((em) => requireRequest(em, identity, id));
    const attempt = {
      ...{ tenant, subject, action: approve ? 'move.approved' : 'move.rejected', reason },
      ...{ target: promptTarget(row.name), item: row.label, before: row.fromVersion, after: row.toVersion },
    };
    return onRecord(context, attempt, async (em) => {
      const found = await requireRequest(em, identity, id);
      return once(em, call, request, async () => {
        const decided = await decide(em, identity, found, { approve, reason });
        return create(DecideLabelMoveResponseSchema, { move: await moveReply(em, decided) });
      });
    });
  };
