import { sqlMigration } from '@landfall/common/db/migration.ts';
import { defineEntity, type InferEntity, p } from '@mikro-orm/core';

/** One version of a tenant's content policy; it never changes. */
export const ContentPolicySchema = defineEntity({
  name: 'ContentPolicyVersion',
  tableName: 'content_policy',
  properties: {
    tenant: p.text().primary(),
    version: p.bigint('number').primary(),
    /** ContentPolicy as JSON. */
    body: p.text(),
    author: p.text(),
    createdMs: p.bigint('number'),
  },
});

export type KeptContentPolicy = InferEntity<typeof ContentPolicySchema>;

/** Which version is in force. */
export const ActiveContentPolicySchema = defineEntity({
  name: 'ActiveContentPolicy',
  tableName: 'active_content_policy',
  properties: { tenant: p.text().primary(), version: p.bigint('number') },
});

/** A request, or the answer to one, that a person decides on. */
export const ContentReviewSchema = defineEntity({
  name: 'ContentReview',
  tableName: 'content_review',
  properties: {
    id: p.text().primary(),
    tenant: p.text(),
    subject: p.text(),
    route: p.text(),
    /** sha256 of route and message: a decision is on this very call. */
    digest: p.text(),
    filters: p.text(),
    policyVersion: p.bigint('number'),
    /** What was asked, as a list in JSON; empty once it is decided. */
    texts: p.text(),
    ofAnswer: p.boolean(),
    /** What the model said, as a list in JSON; empty for requests, and once it is decided. */
    answerTexts: p.text(),
    /** The answer as its caller gets it, sealed; empty for requests, and where it was rejected. */
    answer: p.text(),
    state: p.integer(),
    claimedBy: p.text(),
    decidedBy: p.text(),
    reason: p.text(),
    createdMs: p.bigint('number'),
    expiresMs: p.bigint('number'),
  },
});
export type KeptContentReview = InferEntity<typeof ContentReviewSchema>;

export const contentMigrations = [
  sqlMigration('gateway-content-policies', [
    `create table content_policy (tenant text not null, version bigint not null, body text not null, author text not null,
       created_ms bigint not null, primary key (tenant, version))`,
    'create table active_content_policy (tenant text not null primary key, version bigint not null)',
  ]),
  sqlMigration('gateway-content-reviews', [
    `create table content_review (id text not null primary key, tenant text not null, subject text not null,
       route text not null, digest text not null, filters text not null, policy_version bigint not null, texts text not null,
       state integer not null, claimed_by text not null, decided_by text not null, reason text not null,
       created_ms bigint not null, expires_ms bigint not null, unique (tenant, subject, digest))`,
    'create index content_review_waiting on content_review (tenant, state, id)',
  ]),
  sqlMigration('gateway-content-answer-reviews', [
    'alter table content_review add column of_answer boolean not null default false',
    `alter table content_review add column answer_texts text not null default '[]'`,
    `alter table content_review add column answer text not null default ''`,
  ]),
];
