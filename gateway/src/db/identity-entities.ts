import { sqlMigration } from '@landfall/common/db/migration.ts';
import { defineEntity, type InferEntity, p } from '@mikro-orm/core';

export const TenantSchema = defineEntity({
  name: 'Tenant',
  tableName: 'tenant',
  properties: {
    name: p.text().primary(),
    displayName: p.text(),
    disabled: p.boolean(),
    createdMs: p.bigint('number'),
  },
});
export type TenantRow = InferEntity<typeof TenantSchema>;

/** A user or a service account. */
export const MemberSchema = defineEntity({
  name: 'Member',
  tableName: 'member',
  properties: {
    tenant: p.text().primary(),
    /** `user:NAME` or `account:NAME`. */
    subject: p.text().primary(),
    displayName: p.text(),
    /** Names, one a line. */
    roles: p.text(),
    /** Names of groups, one a line. */
    memberOf: p.text(),
    disabled: p.boolean(),
    createdMs: p.bigint('number'),
  },
});
export type MemberRow = InferEntity<typeof MemberSchema>;

/** What a client certificate may say, and whose it is then. */
export const CertificateSchema = defineEntity({
  name: 'MemberCertificate',
  tableName: 'member_certificate',
  properties: {
    /** `URI:...`, `DNS:...` or a whole subject. */
    name: p.text().primary(),
    tenant: p.text(),
    subject: p.text(),
  },
});

/** Roles that members of a group have. */
export const GroupSchema = defineEntity({
  name: 'Group',
  tableName: 'member_group',
  properties: {
    tenant: p.text().primary(),
    name: p.text().primary(),
    /** Names, one a line. */
    roles: p.text(),
  },
});
export type GroupRow = InferEntity<typeof GroupSchema>;

/** Lists of names as they are kept. */
export const lines = (names: readonly string[]): string => names.join('\n');
export const namesOf = (text: string): string[] => (text === '' ? [] : text.split('\n'));

export const identityEntities = [TenantSchema, MemberSchema, CertificateSchema, GroupSchema];

export const identityMigrations = [
  sqlMigration('gateway-identity', [
    `create table tenant (name text not null primary key, display_name text not null, disabled boolean not null,
       created_ms bigint not null)`,
    `create table member (tenant text not null, subject text not null, display_name text not null, roles text not null,
       member_of text not null, disabled boolean not null, created_ms bigint not null, primary key (tenant, subject))`,
    `create table member_certificate (name text not null primary key, tenant text not null, subject text not null)`,
    'create index member_certificate_member on member_certificate (tenant, subject)',
    `create table member_group (tenant text not null, name text not null, roles text not null, primary key (tenant, name))`,
    // Those that keys were made in before tenants were kept.
    `insert into tenant (name, display_name, disabled, created_ms)
       select tenant, '', false, min(created_ms) from api_key group by tenant`,
  ]),
  sqlMigration('gateway-key-scopes', [
    `alter table api_key add column roles text not null default ''`,
    `alter table api_key add column scopes text not null default ''`,
    `alter table api_key add column owner text not null default ''`,
    `alter table api_key add column successor_id text not null default ''`,
    'create index api_key_owner on api_key (tenant, owner)',
  ]),
];
