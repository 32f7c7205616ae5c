import { sqlMigration } from '@landfall/common/db/migration.ts';
import { defineEntity, type InferEntity, p } from '@mikro-orm/core';

/** What a line of the audit log is found by. The log is the record; rows can be made from it again. */
export const AuditEntrySchema = defineEntity({
  name: 'AuditEntry',
  tableName: 'audit_entry',
  properties: {
    id: p.text().primary(),
    tenant: p.text(),
    timeMs: p.bigint('number'),
    kind: p.text().$type<'call' | 'change' | 'mark'>(),
    subject: p.text(),
    route: p.text(),
    method: p.text(),
    resource: p.text(),
    outcome: p.text(),
    policy: p.text(),
    request: p.text(),
    response: p.text(),
    /** The shard that has the line, or is about to. */
    shard: p.text(),
    /** Number of the line; null for a change that is on its way to the log. */
    seq: p.bigint('number').nullable(),
    /** What the cache of answers made of a call; empty where it was not asked. */
    cache: p.text(),
  },
});
export type AuditEntry = InferEntity<typeof AuditEntrySchema>;

export const auditMigrations = [
  sqlMigration('gateway-audit-chain', [
    `alter table audit_entry add column kind text not null default 'change'`,
    ...['route', 'policy', 'request', 'response', 'shard'].map(
      (name) => `alter table audit_entry add column ${name} text not null default ''`,
    ),
    'alter table audit_entry add column seq bigint',
    'create index audit_entry_subject on audit_entry (tenant, subject, id)',
    'create index audit_entry_resource on audit_entry (tenant, resource, id)',
    'create index audit_entry_chain on audit_entry (shard, seq)',
  ]),
  sqlMigration('gateway-audit-cache', [`alter table audit_entry add column cache text not null default ''`]),
];
