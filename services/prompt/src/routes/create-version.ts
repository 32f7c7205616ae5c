import { create } from '@bufbuild/protobuf';
import { once } from '@landfall/common/db/idempotency.ts';
import {
  CreateVersionRequestSchema,
  CreateVersionResponseSchema,
} from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import type { Route } from '../context.ts';
import { checkDraft } from '../domain/draft.ts';
import { findPrompt } from '../domain/find.ts';
import { versionReply } from '../domain/replies.ts';
import { addVersion, nextVersion } from '../domain/versions.ts';

export const createVersion: Route<'createVersion'> =
  ({ database }) =>
  async (request, { identity: { tenant, subject } }) => {
    const call = {
      tenant,
      method: 'landfall.prompt.v1.PromptService/CreateVersion',
      requestId: request.requestId,
      input: CreateVersionRequestSchema,
      output: CreateVersionResponseSchema,
    };
    return database.transaction((em) =>
      once(em, call, request, async () => {
        const draft = checkDraft(request.draft!);
        const prompt = await findPrompt(em, tenant, request.name);
        const number = request.version || nextVersion(prompt.latestVersion);
        const version = await addVersion(em, prompt, number, draft, subject);
        await em.flush();
        return create(CreateVersionResponseSchema, { version: await versionReply(em, version) });
      }),
    );
  };
