import type { EntityManager } from '@landfall/common/db/database.ts';
import { alreadyExists } from '@landfall/common/errors/errors.ts';
import type { Identity } from '@landfall/common/identity/identity.ts';
import type { PromptFile } from '@landfall/proto/landfall/prompt/v1/library_service_pb.js';
import { type PromptRow, PromptSchema, type VersionRow, VersionSchema } from '../db/entities.ts';
import type { Found } from './change.ts';
import { draftDigest } from './draft.ts';
import { prepareDraft } from './prepare-draft.ts';
import { makeOwner, requireFolderRight, requireRight } from './rights.ts';
import { addVersion, lockPrompt } from './versions.ts';

export interface Adopted {
  prompt: PromptRow;
  version: VersionRow;
  /** False where the version was there already. */
  created: boolean;
  changes: Found[];
}

/**
 * Makes the version that a file holds, and its prompt where there is none. What is there already with the same content
 * stays as it is.
 *
 * @param folder of a new prompt
 * @param origin of the version; '' for none
 * @throws LandfallError ALREADY_EXISTS where the version is there with other content; as `prepareDraft`
 */
export async function adopt(
  em: EntityManager,
  identity: Identity,
  file: PromptFile,
  folder: string,
  origin = '',
): Promise<Adopted> {
  const { tenant, subject: author } = identity;
  const { name } = file;
  const known = await em.findOne(PromptSchema, { tenant, name });
  if (known) await requireRight(em, identity, name, 'editor');
  else await requireFolderRight(em, identity, folder, 'editor');
  const draft = await prepareDraft(em, identity, name, file.draft!);
  const prompt = known ?? newPrompt(em, tenant, file, folder);
  if (known) {
    await lockPrompt(em, known);
    const version = await em.findOne(VersionSchema, {
      tenant,
      name,
      version: file.version || known.latestVersion,
    });
    const same = version?.digest === draftDigest(draft);
    if (version && same) return { prompt, version, created: false, changes: [] };
    if (version && file.version !== '') {
      throw alreadyExists(
        `prompt '${name}' has a version ${file.version} with other content; versions never change: take another number, or leave it out for the next`,
        { reason: 'VERSION_DIFFERS' },
      );
    }
  }
  const { version, changes } = await addVersion(em, prompt, { number: file.version, draft, author, origin });
  if (prompt.latestVersion === version.version) {
    prompt.description = file.description;
    prompt.task = file.task;
  }
  await em.flush();
  if (!known) await makeOwner(em, prompt, author);
  return { prompt, version, created: true, changes };
}

function newPrompt(
  em: EntityManager,
  tenant: string,
  { name, description, task }: PromptFile,
  folder: string,
): PromptRow {
  return em.create(PromptSchema, {
    tenant,
    name,
    folder,
    description,
    task,
    latestVersion: '',
    createdMs: Date.now(),
  });
}
