import { create } from '@bufbuild/protobuf';
import { once } from '@landfall/common/db/idempotency.ts';
import {
  PromptService,
  SetLabelResponseSchema,
} from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import type { Route } from '../context.ts';
import { accessCall } from '../domain/access-call.ts';
import { onRecord } from '../domain/audit.ts';
import { setLabel as pointLabel } from '../domain/label-moves.ts';
import { promptReply } from '../domain/replies.ts';
import { requireRight } from '../domain/rights.ts';
import { promptTarget } from '../domain/targets.ts';

export const setLabel: Route<'setLabel'> =
  (context) =>
  async (request, { identity }) => {
    const { name, label, version, requestId } = request;
    const { tenant, subject } = identity;
    const call = accessCall(PromptService.method.setLabel, identity, requestId);
    const target = promptTarget(name);
    const attempt = { tenant, subject, action: 'label.moved', target, item: label, after: version };
    return onRecord(context, attempt, async (em) => {
      const prompt = await requireRight(em, identity, name, 'editor');
      return once(em, call, request, async () => {
        await pointLabel(em, prompt, { label, version, author: subject });
        return create(SetLabelResponseSchema, { prompt: await promptReply(em, prompt) });
      });
    });
  };
