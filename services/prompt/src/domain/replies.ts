import { create, fromJsonString } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { EntityManager } from '@landfall/common/db/database.ts';
import {
  type Invocation,
  InvocationSchema as InvocationMessage,
  type Prompt,
  PromptSchema as PromptMessage,
  type PromptVersion,
  PromptVersionSchema,
  ScoreSchema as ScoreMessage,
} from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';
import {
  type InvocationRow,
  type LabelRow,
  LabelSchema,
  type PromptRow,
  ScoreSchema,
  type VersionRow,
} from '../db/entities.ts';
import { loadDraft } from './draft.ts';

/** Prompts with the labels of each, in two queries. */
export async function promptReplies(em: EntityManager, rows: readonly PromptRow[]): Promise<Prompt[]> {
  if (rows.length === 0) return [];
  const where = { tenant: rows[0]!.tenant, name: { $in: rows.map((row) => row.name) } };
  const labels = await em.find(LabelSchema, where);
  return rows.map((row) => promptMessage(row, labels));
}

/** @param labels of this prompt, and of others where they are at hand */
export function promptMessage(row: PromptRow, labels: readonly LabelRow[]): Prompt {
  return create(PromptMessage, {
    name: row.name,
    folder: row.folder,
    description: row.description,
    task: row.task,
    latestVersion: row.latestVersion,
    labels: Object.fromEntries(labels.filter((l) => l.name === row.name).map((l) => [l.label, l.version])),
    createTime: timestampFromMs(row.createdMs),
  });
}

export async function promptReply(em: EntityManager, row: PromptRow): Promise<Prompt> {
  return (await promptReplies(em, [row]))[0]!;
}

export async function versionReply(em: EntityManager, row: VersionRow): Promise<PromptVersion> {
  return (await versionReplies(em, [row]))[0]!;
}

/** Versions of one prompt with the labels of each, in one more query. */
export async function versionReplies(
  em: EntityManager,
  rows: readonly VersionRow[],
): Promise<PromptVersion[]> {
  if (rows.length === 0) return [];
  const { tenant, name } = rows[0]!;
  const labels = await em.find(
    LabelSchema,
    { tenant, name, version: { $in: rows.map((row) => row.version) } },
    { orderBy: { label: 'asc' } },
  );
  return rows.map((row) => versionMessage(row, labels));
}

/** @param labels of its prompt */
export function versionMessage(row: VersionRow, labels: readonly LabelRow[]): PromptVersion {
  const { $typeName: _type, $unknown: _unknown, text: _text, ...content } = loadDraft(row.content);
  return create(PromptVersionSchema, {
    ...content,
    name: row.name,
    version: row.version,
    author: row.author,
    createTime: timestampFromMs(row.createdMs),
    labels: labels.filter(({ version }) => version === row.version).map(({ label }) => label),
    digest: row.digest,
    origin: row.origin,
    change: row.change,
  });
}

/** Log entries with the scores of each, in one more query. */
export async function invocationReplies(
  em: EntityManager,
  rows: readonly InvocationRow[],
): Promise<Invocation[]> {
  if (rows.length === 0) return [];
  const scores = await em.find(
    ScoreSchema,
    { invocationId: { $in: rows.map((row) => row.id) } },
    { orderBy: { createdMs: 'asc' } },
  );
  return rows.map((row) => {
    const entry = fromJsonString(InvocationMessage, row.entry);
    entry.scores = scores
      .filter((score) => score.invocationId === row.id)
      .map(({ name, value, reason, author, createdMs }) =>
        create(ScoreMessage, {
          name,
          value: Number(value),
          reason,
          author,
          createTime: timestampFromMs(createdMs),
        }),
      );
    return entry;
  });
}
