import { create } from '@bufbuild/protobuf';
import { once } from '@landfall/common/db/idempotency.ts';
import { invalidArgument } from '@landfall/common/errors/errors.ts';
import { validate } from '@landfall/common/rpc/validation.ts';
import {
  ImportPromptRequestSchema,
  ImportPromptResponseSchema,
  PromptFileSchema,
} from '@landfall/proto/landfall/prompt/v1/library_service_pb.js';
import type { LibraryRoute } from '../../context.ts';
import { adopt } from '../../domain/adopt.ts';
import { changeReplies } from '../../domain/changes.ts';
import { promptReply, versionReply } from '../../domain/replies.ts';
import { readPromptFile } from '../../files/prompt-file.ts';

export const importPrompt: LibraryRoute<'importPrompt'> =
  ({ database }) =>
  (request, { identity }) => {
    const read = readPromptFile(request.content, 'content');
    const file = create(PromptFileSchema, { ...read, name: request.name || read.name });
    if (file.name === '') throw invalidArgument('name', 'the file names no prompt; give a name');
    validate(PromptFileSchema, file);
    const call = {
      tenant: identity.tenant,
      method: 'landfall.prompt.v1.PromptLibraryService/ImportPrompt',
      requestId: request.requestId,
      input: ImportPromptRequestSchema,
      output: ImportPromptResponseSchema,
    };
    return database.transaction((em) =>
      once(em, call, request, async () => {
        const { prompt, version, created, changes } = await adopt(em, identity, file, request.folder);
        return create(ImportPromptResponseSchema, {
          prompt: await promptReply(em, prompt),
          version: await versionReply(em, version),
          created,
          changes: changeReplies(changes),
        });
      }),
    );
  };
