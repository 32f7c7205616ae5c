import { sqlMigration } from '@landfall/common/db/migration.ts';
import { defineEntity, type InferEntity, p } from '@mikro-orm/core';

export const WebhookSchema = defineEntity({
  name: 'Webhook',
  tableName: 'webhook',
  properties: {
    id: p.text().primary(),
    tenant: p.text(),
    url: p.text(),
    /** One a line; empty for all. */
    subjects: p.text(),
    /** Encrypted: it signs, so a hash would not do. */
    secret: p.text(),
    /** The one before, encrypted, while it signs too; empty for none. */
    replaced: p.text(),
    /** When it signs no more. */
    replacedUntilMs: p.bigint('number'),
    /** Since when nothing was taken; 0 where the last post was. */
    failingMs: p.bigint('number'),
    /** Why it ended; empty while it works. */
    ended: p.text(),
    createdMs: p.bigint('number'),
  },
});
export type WebhookRow = InferEntity<typeof WebhookSchema>;

/** An event that waits to be posted. */
export const DeliverySchema = defineEntity({
  name: 'Delivery',
  tableName: 'webhook_delivery',
  properties: {
    webhookId: p.text().primary(),
    eventId: p.text().primary(),
    subject: p.text(),
    payload: p.text(),
    eventMs: p.bigint('number'),
    /** How often it was posted. */
    attempts: p.integer(),
    /** When it is to be posted; whoever posts it moves this on first. */
    dueMs: p.bigint('number'),
  },
});
export type DeliveryRow = InferEntity<typeof DeliverySchema>;

export const webhookEntities = [WebhookSchema, DeliverySchema];

export const webhookMigrations = [
  sqlMigration('gateway-webhooks', [
    `create table webhook (id text not null primary key, tenant text not null, url text not null,
       subjects text not null, secret text not null, ended text not null, created_ms bigint not null)`,
    'create index webhook_tenant on webhook (tenant, id)',
    `create table webhook_delivery (webhook_id text not null, event_id text not null, subject text not null,
       payload text not null, event_ms bigint not null, attempts integer not null, due_ms bigint not null,
       primary key (webhook_id, event_id))`,
    'create index webhook_delivery_due on webhook_delivery (due_ms)',
  ]),
  sqlMigration('gateway-webhook-rotation', [
    `alter table webhook add column replaced text not null default ''`,
    'alter table webhook add column replaced_until_ms bigint not null default 0',
    'alter table webhook add column failing_ms bigint not null default 0',
  ]),
];
