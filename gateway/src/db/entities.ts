import { sqlMigration } from '@landfall/common/db/migration.ts';
import { defineEntity, type InferEntity, p } from '@mikro-orm/core';
import { accessEntities, accessMigrations } from './access-entities.ts';
import { AuditEntrySchema, auditMigrations } from './audit-entities.ts';
import { cacheEntities, cacheMigrations } from './cache-entities.ts';
import {
  ActiveContentPolicySchema,
  ContentPolicySchema,
  ContentReviewSchema,
  contentMigrations,
} from './content-entities.ts';
import { identityEntities, identityMigrations } from './identity-entities.ts';
import { quotaEntities, quotaMigrations } from './quota-entities.ts';
import { webhookEntities, webhookMigrations } from './webhook-entities.ts';

/** An API key: the hash of its secret, never the secret. */
export const ApiKeySchema = defineEntity({
  name: 'ApiKey',
  tableName: 'api_key',
  properties: {
    id: p.text().primary(),
    tenant: p.text(),
    name: p.text(),
    prefix: p.text(),
    /** sha256 of the secret, which holds 256 random bits: no slow hash is needed against guessing. */
    hash: p.text(),
    role: p.integer(),
    /** Names of groups, one a line. */
    memberOf: p.text(),
    createdMs: p.bigint('number'),
    expiresMs: p.bigint('number').nullable(),
    revokedMs: p.bigint('number').nullable(),
    lastUseMs: p.bigint('number').nullable(),
    /** Names of roles, one a line; empty where `role` says it. */
    roles: p.text(),
    /** One a line. */
    scopes: p.text(),
    /** Subject for whom it acts; empty for itself. */
    owner: p.text(),
    /** Key that it was rotated into; empty for none. */
    successorId: p.text(),
  },
});
export type ApiKey = InferEntity<typeof ApiKeySchema>;

export const TenantPolicySchema = defineEntity({
  name: 'TenantPolicy',
  tableName: 'tenant_policy',
  properties: {
    tenant: p.text().primary(),
    requestsPerMinute: p.integer(),
    concurrentRequests: p.integer(),
    revision: p.bigint('number'),
  },
});

export const gatewayEntities = [
  ApiKeySchema,
  TenantPolicySchema,
  AuditEntrySchema,
  ...identityEntities,
  ...quotaEntities,
  ContentPolicySchema,
  ActiveContentPolicySchema,
  ContentReviewSchema,
  ...webhookEntities,
  ...accessEntities,
  ...cacheEntities,
];

export const gatewayMigrations = [
  sqlMigration('gateway-0001', [
    `create table api_key (id text not null primary key, tenant text not null, name text not null, prefix text not null,
       hash text not null unique, role integer not null, created_ms bigint not null, expires_ms bigint, revoked_ms bigint,
       last_use_ms bigint)`,
    'create index api_key_tenant on api_key (tenant, id)',
    `create table tenant_policy (tenant text not null primary key, requests_per_minute integer not null,
       concurrent_requests integer not null, revision bigint not null)`,
    `create table audit_entry (id text not null primary key, tenant text not null, time_ms bigint not null,
       subject text not null, method text not null, resource text not null, outcome text not null)`,
    'create index audit_entry_tenant on audit_entry (tenant, id)',
  ]),
  sqlMigration('gateway-key-groups', [`alter table api_key add column member_of text not null default ''`]),
  ...auditMigrations,
  ...identityMigrations,
  ...quotaMigrations,
  ...contentMigrations,
  ...webhookMigrations,
  ...accessMigrations,
  ...cacheMigrations,
];
