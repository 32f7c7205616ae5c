import { sqlMigration } from '@landfall/common/db/migration.ts';

/**
 * Ranges of replicas, settings, rollouts and canaries. The table of deployments is made anew: it had a check that
 * forbids 0 replicas, and SQLite drops no checks.
 */
export const rolloutsMigration = sqlMigration('balancer-0002-rollouts', [
  `create table deployment_anew (
    tenant text not null,
    name text not null,
    model text not null,
    base text not null,
    variant text not null,
    next_model text not null,
    next_base text not null,
    next_variant text not null,
    alias text not null,
    alias_model text not null,
    generation bigint not null,
    paused boolean not null,
    max_surge integer not null,
    max_unavailable integer not null,
    replicas integer not null check (replicas >= 0),
    min_replicas integer not null check (min_replicas >= 0),
    max_replicas integer not null check (max_replicas > 0),
    scaling text not null,
    decisions text not null,
    overflow text not null,
    canary_model text not null,
    canary_base text not null,
    canary_weight double precision not null,
    canary_limits text not null,
    canary_started_ms bigint not null,
    canary_outcome text not null,
    ready_replicas integer not null,
    state text not null check (state in ('progressing', 'ready', 'degraded', 'stopped')),
    was_ready boolean not null,
    message text not null,
    revision bigint not null,
    created_ms bigint not null,
    primary key (tenant, name))`,
  `insert into deployment_anew
    select tenant, name, model, base, '', next_model, next_base, '', '', '', 1, false, 0, 0,
      replicas, replicas, replicas, '', '', '', '', '', 0, '', 0, '',
      ready_replicas, state, was_ready, message, revision, created_ms
    from deployment`,
  'drop table deployment',
  'alter table deployment_anew rename to deployment',
  'create index deployment_base on deployment (tenant, base)',
  `create table deployment_revision (
    tenant text not null,
    name text not null,
    generation bigint not null,
    model text not null,
    base text not null,
    variant text not null,
    reason text not null,
    created_ms bigint not null,
    primary key (tenant, name, generation))`,
  `insert into deployment_revision
    select tenant, name, 1, model, base, '', 'deployed', created_ms from deployment`,
  `create table model_record (
    tenant text not null,
    name text not null,
    model text not null,
    calls bigint not null,
    errors bigint not null,
    scores bigint not null,
    score_sum double precision not null,
    primary key (tenant, name, model))`,
  "alter table replica add column variant text not null default ''",
]);
