import { defineEntity, type InferEntity, p } from '@mikro-orm/core';

/** A version in the making; `content` is the draft as ProtoJSON. */
export const DraftSchema = defineEntity({
  name: 'PromptDraft',
  tableName: 'prompt_draft',
  properties: {
    tenant: p.text().primary(),
    name: p.text().primary(),
    draftName: p.text().primary(),
    content: p.text(),
    baseVersion: p.text(),
    revision: p.bigint('number'),
    author: p.text(),
    createdMs: p.bigint('number'),
    updatedMs: p.bigint('number'),
  },
});
export type DraftRow = InferEntity<typeof DraftSchema>;

export const contentsEntities = [DraftSchema];
