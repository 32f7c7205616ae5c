import { create } from '@bufbuild/protobuf';
import { PromptFileSchema } from '@landfall/proto/landfall/prompt/v1/library_service_pb.js';
import type { LibraryRoute } from '../../context.ts';
import { loadDraft } from '../../domain/draft.ts';
import { findVersion } from '../../domain/find.ts';
import { requireRight } from '../../domain/rights.ts';
import { writePromptFile } from '../../files/prompt-file.ts';

export const exportPrompt: LibraryRoute<'exportPrompt'> =
  ({ database }) =>
  ({ name, version: asked }, { identity }) =>
    database.read(async (em) => {
      const { description, task } = await requireRight(em, identity, name, 'viewer');
      const { version } = await findVersion(em, identity.tenant, name, asked);
      const draft = loadDraft(version.content);
      const file = create(PromptFileSchema, { name, version: version.version, description, task, draft });
      return { content: writePromptFile(file), fileName: `${name}.prompt.md`, version: version.version };
    });
