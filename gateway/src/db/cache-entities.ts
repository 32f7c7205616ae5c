import { sqlMigration } from '@landfall/common/db/migration.ts';
import { defineEntity, type InferEntity, p } from '@mikro-orm/core';

/** Which answers a tenant keeps. */
export const CachePolicySchema = defineEntity({
  name: 'CachePolicy',
  tableName: 'cache_policy',
  properties: {
    tenant: p.text().primary(),
    /** CachePolicy as JSON. */
    body: p.text(),
    revision: p.bigint('number'),
  },
});

/** Numbers the changes of what a tenant keeps, one after the other: whoever has seen one knows what came before it. */
export const CacheTenantSchema = defineEntity({
  name: 'CacheTenant',
  tableName: 'cache_tenant',
  properties: { tenant: p.text().primary(), revision: p.bigint('number') },
});

/** An answer that is kept. */
export const CachedAnswerSchema = defineEntity({
  name: 'CachedAnswer',
  tableName: 'cached_answer',
  properties: {
    tenant: p.text().primary(),
    /** Keyed digest of all that decides the answer. */
    key: p.text().primary(),
    /** UUID of the answer. */
    id: p.text(),
    /** Keyed digest of all but the question, for similar ones; empty where none are looked for. */
    context: p.text(),
    /** The deployment or model as it was asked for. */
    asked: p.text(),
    /** `models:/name/version` that answered. */
    model: p.text(),
    /** What the question is compared by, sealed; empty where there is no context. */
    question: p.text(),
    /** The answer, masked and sealed. */
    body: p.text(),
    /** What it takes here. */
    bytes: p.bigint('number'),
    revision: p.bigint('number'),
    createdMs: p.bigint('number'),
    expiresMs: p.bigint('number'),
    usedMs: p.bigint('number'),
  },
});
export type CachedAnswer = InferEntity<typeof CachedAnswerSchema>;

/** Answers that are given out no more: for gateways that may have them in memory. */
export const CacheInvalidationSchema = defineEntity({
  name: 'CacheInvalidation',
  tableName: 'cache_invalidation',
  properties: {
    tenant: p.text().primary(),
    revision: p.bigint('number').primary(),
    /** Asked for or answered by this; empty for all. */
    model: p.text(),
    madeMs: p.bigint('number'),
  },
});

/** What is known of a deployment: what it has served when answers were last dropped. */
export const CacheDeploymentSchema = defineEntity({
  name: 'CacheDeployment',
  tableName: 'cache_deployment',
  properties: {
    tenant: p.text().primary(),
    name: p.text().primary(),
    generation: p.bigint('number'),
    /** Whether that was ready: until then replicas of the one before may answer. */
    settled: p.boolean(),
    revision: p.bigint('number'),
  },
});

/** What one gateway has counted for a tenant. Each writes a row of its own, and all are added up. */
export const CacheUseSchema = defineEntity({
  name: 'CacheUse',
  tableName: 'cache_use',
  properties: {
    tenant: p.text().primary(),
    gateway: p.text().primary(),
    hits: p.bigint('number'),
    similarHits: p.bigint('number'),
    misses: p.bigint('number'),
    joined: p.bigint('number'),
    bypasses: p.bigint('number'),
    stored: p.bigint('number'),
    personal: p.bigint('number'),
    savedTokens: p.bigint('number'),
  },
});

export const cacheEntities = [
  CachePolicySchema,
  CacheTenantSchema,
  CachedAnswerSchema,
  CacheInvalidationSchema,
  CacheDeploymentSchema,
  CacheUseSchema,
];

export const cacheMigrations = [
  sqlMigration('gateway-answer-cache', [
    'create table cache_policy (tenant text not null primary key, body text not null, revision bigint not null)',
    'create table cache_tenant (tenant text not null primary key, revision bigint not null)',
    `create table cached_answer (tenant text not null, key text not null, id text not null, context text not null,
       asked text not null, model text not null, question text not null, body text not null, bytes bigint not null,
       revision bigint not null, created_ms bigint not null, expires_ms bigint not null, used_ms bigint not null,
       primary key (tenant, key))`,
    'create index cached_answer_news on cached_answer (tenant, revision)',
    'create index cached_answer_use on cached_answer (tenant, used_ms)',
    'create index cached_answer_age on cached_answer (expires_ms)',
    `create table cache_invalidation (tenant text not null, revision bigint not null, model text not null,
       made_ms bigint not null, primary key (tenant, revision))`,
    'create index cache_invalidation_age on cache_invalidation (made_ms)',
    `create table cache_deployment (tenant text not null, name text not null, generation bigint not null,
       settled boolean not null, revision bigint not null, primary key (tenant, name))`,
    `create table cache_use (tenant text not null, gateway text not null, hits bigint not null,
       similar_hits bigint not null, misses bigint not null, joined bigint not null, bypasses bigint not null,
       stored bigint not null, personal bigint not null, saved_tokens bigint not null, primary key (tenant, gateway))`,
  ]),
];
