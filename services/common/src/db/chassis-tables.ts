import { defineEntity, type InferEntity, p } from '@mikro-orm/core';
import { sqlMigration } from './migration.ts';

/** An event that was decided in a transaction and waits for the broker. */
export const OutboxSchema = defineEntity({
  name: 'Outbox',
  tableName: 'outbox',
  properties: {
    /** UUID of version 7: rows of one writer sort by the order in which they were written. */
    id: p.text().primary(),
    subject: p.text(),
    headers: p.json<Record<string, string>>(),
    payload: p.text(),
    createdMs: p.bigint('number'),
  },
});
export type Outbox = InferEntity<typeof OutboxSchema>;

/** A message whose effect is in this database. */
export const ProcessedMessageSchema = defineEntity({
  name: 'ProcessedMessage',
  tableName: 'processed_message',
  properties: {
    consumer: p.text().primary(),
    messageId: p.text().primary(),
    processedMs: p.bigint('number'),
  },
});

/** An answered request, by the token that its client chose. */
export const HandledRequestSchema = defineEntity({
  name: 'HandledRequest',
  tableName: 'handled_request',
  properties: {
    tenant: p.text().primary(),
    method: p.text().primary(),
    requestId: p.text().primary(),
    digest: p.text(),
    response: p.text(),
    createdMs: p.bigint('number'),
  },
});

export const chassisEntities = [OutboxSchema, ProcessedMessageSchema, HandledRequestSchema];

export const chassisMigrations = [
  sqlMigration('chassis-0001', [
    `create table outbox (id text not null primary key, subject text not null, headers json not null,
       payload text not null, created_ms bigint not null)`,
    `create table processed_message (consumer text not null, message_id text not null, processed_ms bigint not null,
       primary key (consumer, message_id))`,
    'create index processed_message_age on processed_message (processed_ms)',
    `create table handled_request (tenant text not null, method text not null, request_id text not null,
       digest text not null, response text not null, created_ms bigint not null, primary key (tenant, method, request_id))`,
    'create index handled_request_age on handled_request (created_ms)',
  ]),
];
