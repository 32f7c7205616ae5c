import { create } from '@bufbuild/protobuf';
import { once } from '@landfall/common/db/idempotency.ts';
import { announce } from '@landfall/common/events/outbox.ts';
import { LabelMovedSchema } from '@landfall/proto/landfall/event/v1/events_pb.js';
import {
  SetLabelRequestSchema,
  SetLabelResponseSchema,
} from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import type { Route } from '../context.ts';
import { LabelSchema, VersionSchema } from '../db/entities.ts';
import { findPrompt } from '../domain/find.ts';
import { promptReply } from '../domain/replies.ts';
import { versionNotFound } from '../errors.ts';

export const setLabel: Route<'setLabel'> =
  ({ database }) =>
  async (request, { identity: { tenant } }) => {
    const { name, label, version, requestId } = request;
    const call = {
      tenant,
      method: 'landfall.prompt.v1.PromptService/SetLabel',
      requestId,
      input: SetLabelRequestSchema,
      output: SetLabelResponseSchema,
    };
    return database.transaction((em) =>
      once(em, call, request, async () => {
        const prompt = await findPrompt(em, tenant, name);
        if (!(await em.findOne(VersionSchema, { tenant, name, version })))
          throw versionNotFound(name, version);
        const before = await em.findOne(LabelSchema, { tenant, name, label });
        if (before?.version !== version) {
          const fromVersion = before?.version ?? '';
          const revision = (before?.revision ?? 0) + 1;
          if (before) Object.assign(before, { version, revision });
          else em.create(LabelSchema, { tenant, name, label, version, revision });
          await em.flush();
          await announce(em, 'prompt', {
            subject: 'landfall.prompt.label.moved.v1',
            schema: LabelMovedSchema,
            payload: create(LabelMovedSchema, {
              tenant,
              name,
              label,
              fromVersion,
              toVersion: version,
              revision: BigInt(revision),
            }),
          });
        }
        return create(SetLabelResponseSchema, { prompt: await promptReply(em, prompt) });
      }),
    );
  };
