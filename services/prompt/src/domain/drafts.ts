import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { EntityManager } from '@landfall/common/db/database.ts';
import { aborted, LandfallError, notFound } from '@landfall/common/errors/errors.ts';
import type { Identity } from '@landfall/common/identity/identity.ts';
import { type SavedDraft, SavedDraftSchema } from '@landfall/proto/landfall/prompt/v1/draft_service_pb.js';
import type { PromptDraft } from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import { type DraftRow, DraftSchema } from '../db/contents-entities.ts';
import { type PromptRow, VersionSchema } from '../db/entities.ts';
import { versionNotFound } from '../errors.ts';
import { weightOf } from './change.ts';
import { changeReplies, changesBetween } from './changes.ts';
import { loadDraft, withTurns } from './draft.ts';
import { prepareDraft } from './prepare-draft.ts';
import { nextVersion } from './versions.ts';

/** Drafts that one prompt may have. */
export const MOST_DRAFTS = 64;

/** @throws LandfallError NOT_FOUND */
export async function findDraft(
  em: EntityManager,
  { tenant, name }: PromptRow,
  draftName: string,
): Promise<DraftRow> {
  const row = await em.findOne(DraftSchema, { tenant, name, draftName });
  if (!row) throw notFound(`prompt '${name}' has no draft '${draftName}'`, { reason: 'DRAFT_NOT_FOUND' });
  return row;
}

/** @throws LandfallError ABORTED where somebody else has saved since `revision` was read */
export function requireRevision(row: DraftRow | null, revision: number): void {
  const now = row?.revision ?? 0;
  if (now === revision) return;
  const told =
    now === 0
      ? 'the draft is not there any more; save it with revision 0 to make it again'
      : revision === 0
        ? `there is such a draft already, at revision ${now}; read it, or take another name`
        : `the draft was saved since, by '${row!.author}': it is at revision ${now} and not ${revision}; read it again`;
  throw aborted(told, { reason: 'DRAFT_CHANGED', metadata: { revision: String(now) } });
}

/** A draft with what it changes about its base, the number it would get, and what keeps it from being published. */
export async function draftReply(
  em: EntityManager,
  identity: Identity,
  prompt: PromptRow,
  row: DraftRow,
): Promise<SavedDraft> {
  const { tenant, name } = prompt;
  const base = await em.findOne(VersionSchema, { tenant, name, version: row.baseVersion });
  if (!base) throw versionNotFound(name, row.baseVersion);
  const { draft, problems } = await asPublished(em, identity, row);
  if (row.baseVersion !== prompt.latestVersion) {
    problems.push(
      `base_version: version ${prompt.latestVersion} is newer than its base ${row.baseVersion}; compare them with DiffVersions, and save the draft with that base`,
    );
  }
  const changes = changesBetween(loadDraft(base.content), draft);
  return create(SavedDraftSchema, {
    ...head(row),
    draft,
    problems,
    changes: changeReplies(changes),
    proposedVersion: nextVersion(prompt.latestVersion, weightOf(changes)),
  });
}

/** What is told of a draft in a list. */
export const head = (row: DraftRow): MessageInitShape<typeof SavedDraftSchema> => ({
  prompt: row.name,
  draftName: row.draftName,
  baseVersion: row.baseVersion,
  revision: BigInt(row.revision),
  author: row.author,
  createTime: timestampFromMs(row.createdMs),
  updateTime: timestampFromMs(row.updatedMs),
});

/** A draft as it would be published; as it is, with the reason, where something keeps it from that. */
export async function asPublished(
  em: EntityManager,
  identity: Identity,
  row: DraftRow,
): Promise<{ draft: PromptDraft; problems: string[] }> {
  const saved = loadDraft(row.content);
  try {
    return { draft: await prepareDraft(em, identity, row.name, saved), problems: [] };
  } catch (cause) {
    if (!(cause instanceof LandfallError)) throw cause;
    return { draft: withTurns(saved), problems: [cause.message] };
  }
}
