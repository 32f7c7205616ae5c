import { create } from '@bufbuild/protobuf';
import { once } from '@landfall/common/db/idempotency.ts';
import {
  CreateVersionRequestSchema,
  CreateVersionResponseSchema,
} from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import type { Route } from '../context.ts';
import { changeReplies } from '../domain/changes.ts';
import { prepareDraft } from '../domain/prepare-draft.ts';
import { versionReply } from '../domain/replies.ts';
import { requireRight } from '../domain/rights.ts';
import { addVersion } from '../domain/versions.ts';

export const createVersion: Route<'createVersion'> =
  ({ database }) =>
  async (request, { identity }) => {
    const { tenant, subject } = identity;
    const call = {
      tenant,
      method: 'landfall.prompt.v1.PromptService/CreateVersion',
      requestId: request.requestId,
      input: CreateVersionRequestSchema,
      output: CreateVersionResponseSchema,
    };
    return database.transaction(async (em) => {
      const prompt = await requireRight(em, identity, request.name, 'editor');
      return once(em, call, request, async () => {
        const draft = await prepareDraft(em, identity, request.name, request.draft!);
        const added = { number: request.version, draft, author: subject };
        const { version, changes } = await addVersion(em, prompt, added);
        await em.flush();
        return create(CreateVersionResponseSchema, {
          version: await versionReply(em, version),
          changes: changeReplies(changes),
        });
      });
    });
  };
