import type { EntityManager } from '@landfall/common/db/database.ts';
import { alreadyExists } from '@landfall/common/errors/errors.ts';
import { ChangeKind } from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';
import type { PromptDraft } from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import { LockMode } from '@mikro-orm/core';
import semver from 'semver';
import { type PromptRow, type VersionRow, VersionSchema } from '../db/entities.ts';
import { type Found, weightOf } from './change.ts';
import { changesBetween } from './changes.ts';
import { draftDigest, loadDraft, storeDraft } from './draft.ts';
import { versionCreated } from './version-created.ts';

/** A version to be. */
export interface NewVersion {
  /** SemVer; '' takes the next number by the kind of change. */
  number: string;
  /** Checked. */
  draft: PromptDraft;
  author: string;
  /** `library:NAME/VERSION`, or '' for none. */
  origin?: string;
}

/**
 * Adds a version to a prompt and makes it the newest where it is. The row of the prompt must be managed by `em`, whose
 * transaction holds it from here on: versions of one prompt are made one after the other.
 * @throws LandfallError ALREADY_EXISTS
 */
export async function addVersion(
  em: EntityManager,
  prompt: PromptRow,
  { number, draft, author, origin = '' }: NewVersion,
): Promise<{ version: VersionRow; changes: Found[] }> {
  const { tenant, name } = prompt;
  await lockPrompt(em, prompt);
  const latest = prompt.latestVersion;
  const before = latest
    ? await em.findOneOrFail(VersionSchema, { tenant, name, version: latest })
    : undefined;
  const changes = before ? changesBetween(loadDraft(before.content), draft) : [];
  const change = weightOf(changes);
  const version = number || nextVersion(latest, change);
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
    origin,
    change,
    createdMs: Date.now(),
  };
  await em.insert(VersionSchema, row);
  await versionCreated(em, row as VersionRow);
  if (latest === '' || semver.gt(version, latest)) prompt.latestVersion = version;
  return { version: row as VersionRow, changes };
}

/** Reads a prompt anew and holds it until the transaction ends; one that is being made is nobody else's yet. */
export async function lockPrompt(em: EntityManager, prompt: PromptRow): Promise<void> {
  if (prompt.latestVersion !== '') await em.refresh(prompt, { lockMode: LockMode.PESSIMISTIC_WRITE });
}

/** The number after the newest by the kind of change: 1.0.0 first, a patch where nothing has changed. */
export function nextVersion(latest: string, change: ChangeKind): string {
  if (latest === '') return '1.0.0';
  const part = change === ChangeKind.MAJOR ? 'major' : change === ChangeKind.MINOR ? 'minor' : 'patch';
  return semver.inc(latest, part)!;
}

/** The number before another; undefined for the first. */
export async function versionBefore(
  em: EntityManager,
  { tenant, name }: PromptRow,
  version: string,
): Promise<string | undefined> {
  const rows = await em.find(VersionSchema, { tenant, name }, { fields: ['version'] });
  return rows
    .map((row) => row.version)
    .filter((other) => semver.lt(other, version))
    .sort(semver.rcompare)[0];
}
