import { create } from '@bufbuild/protobuf';
import { once } from '@landfall/common/db/idempotency.ts';
import { alreadyExists } from '@landfall/common/errors/errors.ts';
import {
  CreatePromptRequestSchema,
  CreatePromptResponseSchema,
} from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import type { Route } from '../context.ts';
import { PromptSchema } from '../db/entities.ts';
import { prepareDraft } from '../domain/prepare-draft.ts';
import { promptReply, versionReply } from '../domain/replies.ts';
import { makeOwner, requireFolderRight } from '../domain/rights.ts';
import { addVersion } from '../domain/versions.ts';

export const createPrompt: Route<'createPrompt'> =
  ({ database }) =>
  async (request, { identity }) => {
    const { tenant, subject } = identity;
    const { name, folder, description, task, requestId } = request;
    const call = {
      tenant,
      method: 'landfall.prompt.v1.PromptService/CreatePrompt',
      requestId,
      input: CreatePromptRequestSchema,
      output: CreatePromptResponseSchema,
    };
    return database.transaction(async (em) => {
      await requireFolderRight(em, identity, folder, 'editor');
      return once(em, call, request, async () => {
        const draft = await prepareDraft(em, identity, request.name, request.draft!);
        if (await em.findOne(PromptSchema, { tenant, name })) {
          throw alreadyExists(`there is a prompt '${name}'; add a version to it with CreateVersion`);
        }
        const prompt = em.create(PromptSchema, {
          tenant,
          name,
          folder,
          description,
          task,
          latestVersion: '',
          createdMs: Date.now(),
        });
        const { version } = await addVersion(em, prompt, { number: '', draft, author: subject });
        await em.flush();
        await makeOwner(em, prompt, subject);
        return create(CreatePromptResponseSchema, {
          prompt: await promptReply(em, prompt),
          version: await versionReply(em, version),
        });
      });
    });
  };
