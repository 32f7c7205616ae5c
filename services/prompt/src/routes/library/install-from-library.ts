import { create } from '@bufbuild/protobuf';
import type { EntityManager } from '@landfall/common/db/database.ts';
import { once } from '@landfall/common/db/idempotency.ts';
import { alreadyExists } from '@landfall/common/errors/errors.ts';
import {
  InstallFromLibraryRequestSchema,
  InstallFromLibraryResponseSchema,
  PromptFileSchema,
} from '@landfall/proto/landfall/prompt/v1/library_service_pb.js';
import type { LibraryRoute } from '../../context.ts';
import { PromptSchema, VersionSchema } from '../../db/entities.ts';
import { adopt } from '../../domain/adopt.ts';
import { promptReply, versionReply } from '../../domain/replies.ts';
import { requireRight } from '../../domain/rights.ts';
import { libraryEntry, originOf } from '../../files/library.ts';

export const installFromLibrary: LibraryRoute<'installFromLibrary'> =
  ({ database }) =>
  (request, { identity }) => {
    const { tenant } = identity;
    const entry = libraryEntry(request.entry);
    const name = request.name || entry.name;
    const call = {
      tenant,
      method: 'landfall.prompt.v1.PromptLibraryService/InstallFromLibrary',
      requestId: request.requestId,
      input: InstallFromLibraryRequestSchema,
      output: InstallFromLibraryResponseSchema,
    };
    return database.transaction(async (em) => {
      const isThere = (await em.count(PromptSchema, { tenant, name })) > 0;
      if (isThere) await requireRight(em, identity, name, 'editor');
      return once(em, call, request, async () => {
        if (isThere) await requireUnchanged(em, tenant, name, entry.name);
        // A tenant's own versions count by what they change, from 1.0.0.
        const file = create(PromptFileSchema, { ...entry, name, version: '' });
        const { prompt, version, created } = await adopt(em, identity, file, request.folder, originOf(entry));
        return create(InstallFromLibraryResponseSchema, {
          prompt: await promptReply(em, prompt),
          version: await versionReply(em, version),
          created,
        });
      });
    });
  };

/** @throws LandfallError ALREADY_EXISTS where the newest version is not the entry's as it was installed */
async function requireUnchanged(
  em: EntityManager,
  tenant: string,
  name: string,
  entry: string,
): Promise<void> {
  const { latestVersion } = await em.findOneOrFail(PromptSchema, { tenant, name });
  const newest = await em.findOneOrFail(VersionSchema, { tenant, name, version: latestVersion });
  if (newest.origin.startsWith(`library:${entry}/`)) return;
  throw alreadyExists(
    `there is a prompt '${name}' whose version ${latestVersion} is not from the library's '${entry}'; install it under another name`,
    { reason: 'PROMPT_DIFFERS' },
  );
}
