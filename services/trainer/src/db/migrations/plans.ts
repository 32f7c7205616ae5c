import { sqlMigration } from '@landfall/common/db/migration.ts';

export const plansMigration = sqlMigration('trainer-0003-plans', [
  `create table plan (
    id text not null primary key,
    tenant text not null,
    state text not null check (state in ('running', 'succeeded', 'fell_short', 'failed', 'cancelled')),
    stage text not null,
    plan text not null,
    next text not null,
    paraphrase boolean not null,
    created_ms bigint not null,
    ended_ms bigint,
    revision bigint not null)`,
  'create index plan_tenant on plan (tenant, id)',
  'create index plan_state on plan (state, id)',
  `create table plan_round (
    plan_id text not null references plan (id),
    number integer not null,
    job_id text not null,
    round text not null,
    primary key (plan_id, number))`,
  'create index plan_round_job on plan_round (job_id)',
]);
