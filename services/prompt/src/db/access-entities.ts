import { defineEntity, type InferEntity, p } from '@mikro-orm/core';

/**
 * How a prompt (`prompts/NAME`) or a folder (`folders/PATH`, `folders/` for all) is kept: `revision` grows with each
 * change of its rights, and is what orders their events.
 */
export const AccessSchema = defineEntity({
  name: 'PromptAccess',
  tableName: 'prompt_access',
  properties: {
    tenant: p.text().primary(),
    target: p.text().primary(),
    /** Whether grants alone count, here and below. */
    restricted: p.boolean(),
    revision: p.bigint('number'),
  },
});
export type AccessRow = InferEntity<typeof AccessSchema>;

/** A right that somebody was given on a prompt, or on a folder and all below it. */
export const GrantSchema = defineEntity({
  name: 'PromptGrant',
  tableName: 'prompt_grant',
  properties: {
    tenant: p.text().primary(),
    target: p.text().primary(),
    /** `user:...`, `group:...`, `key:...`, `service:...` or `everyone`. */
    grantee: p.text().primary(),
    /** Number of the right in the contract: viewer 1, invoker 2, editor 3, owner 4. */
    level: p.integer(),
    author: p.text(),
    createdMs: p.bigint('number'),
  },
});
export type GrantRow = InferEntity<typeof GrantSchema>;

/** What a label demands before it moves, for a prompt or all prompts below a folder. */
export const ProtectionSchema = defineEntity({
  name: 'LabelProtection',
  tableName: 'prompt_label_protection',
  properties: {
    tenant: p.text().primary(),
    target: p.text().primary(),
    label: p.text().primary(),
    approvals: p.integer(),
    /** Grantees, one a line. */
    approvers: p.text(),
    ownerMayUndo: p.boolean(),
  },
});
export type ProtectionRow = InferEntity<typeof ProtectionSchema>;

/** A request to move a protected label. */
export const MoveRequestSchema = defineEntity({
  name: 'LabelMoveRequest',
  tableName: 'prompt_move_request',
  properties: {
    id: p.text().primary(),
    tenant: p.text(),
    name: p.text(),
    label: p.text(),
    fromVersion: p.text(),
    toVersion: p.text(),
    /** LabelMoveState; one that has lapsed stays PENDING here. */
    state: p.integer(),
    author: p.text(),
    reason: p.text(),
    approvalsNeeded: p.integer(),
    createdMs: p.bigint('number'),
    expiresMs: p.bigint('number'),
    endedMs: p.bigint('number').nullable(),
  },
});
export type MoveRequestRow = InferEntity<typeof MoveRequestSchema>;

/** What one person has said to a request. */
export const DecisionSchema = defineEntity({
  name: 'LabelMoveDecision',
  tableName: 'prompt_move_decision',
  properties: {
    requestId: p.text().primary(),
    author: p.text().primary(),
    approve: p.boolean(),
    reason: p.text(),
    createdMs: p.bigint('number'),
  },
});
export type DecisionRow = InferEntity<typeof DecisionSchema>;

/** A move of a label; the database refuses to change or delete one. */
export const LabelHistorySchema = defineEntity({
  name: 'LabelHistory',
  tableName: 'prompt_label_history',
  properties: {
    tenant: p.text().primary(),
    name: p.text().primary(),
    label: p.text().primary(),
    revision: p.bigint('number').primary(),
    fromVersion: p.text(),
    toVersion: p.text(),
    /** LabelMoveKind. */
    kind: p.integer(),
    author: p.text(),
    reason: p.text(),
    /** Revision of the move that this undoes; 0 for none. */
    undoes: p.bigint('number'),
    /** Request behind it; '' for none. */
    moveId: p.text(),
    createdMs: p.bigint('number'),
  },
});
export type LabelHistoryRow = InferEntity<typeof LabelHistorySchema>;

/** A change, or the refusal of one; the database refuses to change or delete it. */
export const AuditSchema = defineEntity({
  name: 'PromptAudit',
  tableName: 'prompt_audit',
  properties: {
    id: p.text().primary(),
    tenant: p.text(),
    subject: p.text(),
    action: p.text(),
    target: p.text(),
    item: p.text(),
    outcome: p.text(),
    before: p.text(),
    after: p.text(),
    beforeDigest: p.text(),
    afterDigest: p.text(),
    reason: p.text(),
    createdMs: p.bigint('number'),
  },
});
export type AuditRow = InferEntity<typeof AuditSchema>;

export const accessEntities = [
  AccessSchema,
  GrantSchema,
  ProtectionSchema,
  MoveRequestSchema,
  DecisionSchema,
  LabelHistorySchema,
  AuditSchema,
];
