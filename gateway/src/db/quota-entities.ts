import { sqlMigration } from '@landfall/common/db/migration.ts';
import { defineEntity, type InferEntity, p } from '@mikro-orm/core';

export const QuotaSchema = defineEntity({
  name: 'Quota',
  tableName: 'quota',
  properties: {
    tenant: p.text().primary(),
    subject: p.text().primary(),
    model: p.text().primary(),
    /** Under which its use is counted. */
    id: p.text(),
    requestsPerMinute: p.bigint('number'),
    tokensPerMinute: p.bigint('number'),
    concurrentRequests: p.bigint('number'),
    tokensPerMonth: p.bigint('number'),
    microsPerMonth: p.bigint('number'),
    revision: p.bigint('number'),
  },
});
export type QuotaRow = InferEntity<typeof QuotaSchema>;

/**
 * What one gateway has counted for a quota in a minute (`2026-11-30T08:15`) or month (`2026-11`). Each gateway writes
 * rows of its own and adds up those of all: nothing is waited for, and a write that is repeated counts once.
 */
export const QuotaUseSchema = defineEntity({
  name: 'QuotaUse',
  tableName: 'quota_use',
  properties: {
    quotaId: p.text().primary(),
    period: p.text().primary(),
    gateway: p.text().primary(),
    requests: p.bigint('number'),
    tokens: p.bigint('number'),
    micros: p.bigint('number'),
    inFlight: p.integer(),
    updatedMs: p.bigint('number'),
  },
});

/** A share of a month's quota that has been told of. */
export const QuotaAlertSchema = defineEntity({
  name: 'QuotaAlert',
  tableName: 'quota_alert',
  properties: {
    quotaId: p.text().primary(),
    period: p.text().primary(),
    /** `tokens` or `money`, and the share in percent. */
    what: p.text().primary(),
  },
});

export const PriceSchema = defineEntity({
  name: 'Price',
  tableName: 'price',
  properties: {
    tenant: p.text().primary(),
    model: p.text().primary(),
    inputMicros: p.bigint('number'),
    cachedInputMicros: p.bigint('number'),
    outputMicros: p.bigint('number'),
  },
});
export type PriceRow = InferEntity<typeof PriceSchema>;

export const quotaEntities = [QuotaSchema, QuotaUseSchema, QuotaAlertSchema, PriceSchema];

export const quotaMigrations = [
  sqlMigration('gateway-quotas', [
    `create table quota (tenant text not null, subject text not null, model text not null, id text not null unique,
       requests_per_minute bigint not null, tokens_per_minute bigint not null, concurrent_requests bigint not null,
       tokens_per_month bigint not null, micros_per_month bigint not null, revision bigint not null,
       primary key (tenant, subject, model))`,
    `create table quota_use (quota_id text not null, period text not null, gateway text not null,
       requests bigint not null, tokens bigint not null, micros bigint not null, in_flight integer not null,
       updated_ms bigint not null, primary key (quota_id, period, gateway))`,
    'create index quota_use_age on quota_use (period)',
    `create table quota_alert (quota_id text not null, period text not null, what text not null,
       primary key (quota_id, period, what))`,
    `create table price (tenant text not null, model text not null, input_micros bigint not null,
       cached_input_micros bigint not null, output_micros bigint not null, primary key (tenant, model))`,
  ]),
];
