import type { EntityManager } from '@landfall/common/db/database.ts';
import { alreadyExists } from '@landfall/common/errors/errors.ts';
import type { PromptDraft } from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import semver from 'semver';
import { type PromptRow, type VersionRow, VersionSchema } from '../db/entities.ts';
import { draftDigest, storeDraft } from './draft.ts';

/** Adds a version to a prompt and makes it the newest where it is. The row of the prompt must be managed by `em`. */
export async function addVersion(
  em: EntityManager,
  prompt: PromptRow,
  version: string,
  draft: PromptDraft,
  author: string,
): Promise<VersionRow> {
  const { tenant, name } = prompt;
  if (await em.findOne(VersionSchema, { tenant, name, version })) {
    throw alreadyExists(
      `prompt '${name}' has a version ${version}; versions never change: take another number`,
    );
  }
  const row = {
    tenant,
    name,
    version,
    content: storeDraft(draft),
    digest: draftDigest(draft),
    author,
    createdMs: Date.now(),
  };
  await em.insert(VersionSchema, row);
  if (prompt.latestVersion === '' || semver.gt(version, prompt.latestVersion)) prompt.latestVersion = version;
  return row as VersionRow;
}

/** The version after the newest: the next minor, 1.0.0 first. */
export const nextVersion = (latest: string): string =>
  latest === '' ? '1.0.0' : semver.inc(latest, 'minor')!;
