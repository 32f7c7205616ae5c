import { defineEntity, type InferEntity, p } from '@mikro-orm/core';
import { accessEntities } from './access-entities.ts';
import { contentsEntities } from './contents-entities.ts';
import { evaluationEntities } from './evaluation-entities.ts';
import { experimentEntities } from './experiment-entities.ts';
import { logEntities } from './log-entities.ts';

/** A named series of versions. */
export const PromptSchema = defineEntity({
  name: 'Prompt',
  tableName: 'prompt',
  properties: {
    tenant: p.text().primary(),
    name: p.text().primary(),
    /** Path such as `medical/consultation`; '' is the top. */
    folder: p.text(),
    description: p.text(),
    task: p.integer(),
    latestVersion: p.text(),
    createdMs: p.bigint('number'),
  },
});
export type PromptRow = InferEntity<typeof PromptSchema>;

/** An immutable version; `content` is the draft as ProtoJSON. */
export const VersionSchema = defineEntity({
  name: 'PromptVersion',
  tableName: 'prompt_version',
  properties: {
    tenant: p.text().primary(),
    name: p.text().primary(),
    version: p.text().primary(),
    content: p.text(),
    digest: p.text(),
    author: p.text(),
    /** As in the contract; '' for none. */
    origin: p.text(),
    /** A ChangeKind. */
    change: p.integer(),
    createdMs: p.bigint('number'),
  },
});
export type VersionRow = InferEntity<typeof VersionSchema>;

/** Where a label points; `revision` grows with each move. */
export const LabelSchema = defineEntity({
  name: 'Label',
  tableName: 'prompt_label',
  properties: {
    tenant: p.text().primary(),
    name: p.text().primary(),
    label: p.text().primary(),
    version: p.text(),
    revision: p.bigint('number'),
  },
});
export type LabelRow = InferEntity<typeof LabelSchema>;

/** One call of a model through a prompt. */
export const InvocationSchema = defineEntity({
  name: 'Invocation',
  tableName: 'invocation',
  properties: {
    id: p.text().primary(),
    tenant: p.text(),
    name: p.text(),
    version: p.text(),
    deployment: p.text(),
    caller: p.text(),
    /** As in the entry; '' where nothing failed. */
    error: p.text(),
    /** Whether there is an error: an index in order of time needs one value for all of them. */
    failed: p.boolean(),
    /** The client's token; null for none. */
    requestId: p.text().nullable(),
    /** sha256 of the request, to tell a repeat from another request with the same token. */
    requestDigest: p.text(),
    /** The log entry as ProtoJSON, without scores. */
    entry: p.text(),
    createdMs: p.bigint('number'),
  },
});
export type InvocationRow = InferEntity<typeof InvocationSchema>;

export const ScoreSchema = defineEntity({
  name: 'Score',
  tableName: 'score',
  properties: {
    invocationId: p.text().primary(),
    name: p.text().primary(),
    author: p.text().primary(),
    tenant: p.text(),
    /** Name of the invocation's prompt. */
    prompt: p.text(),
    value: p.double(),
    reason: p.text(),
    createdMs: p.bigint('number'),
  },
});
export type ScoreRow = InferEntity<typeof ScoreSchema>;

export const promptEntities = [
  PromptSchema,
  VersionSchema,
  LabelSchema,
  InvocationSchema,
  ScoreSchema,
  ...accessEntities,
  ...experimentEntities,
  ...logEntities,
  ...contentsEntities,
  ...evaluationEntities,
];
