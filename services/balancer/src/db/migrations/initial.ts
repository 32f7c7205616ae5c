import { sqlMigration } from '@landfall/common/db/migration.ts';

export const initialMigration = sqlMigration('balancer-0001-initial', [
  `create table deployment (
    tenant text not null,
    name text not null,
    model text not null,
    base text not null,
    next_model text not null,
    next_base text not null,
    replicas integer not null check (replicas > 0),
    ready_replicas integer not null,
    state text not null check (state in ('progressing', 'ready', 'degraded', 'stopped')),
    was_ready boolean not null,
    message text not null,
    revision bigint not null,
    created_ms bigint not null,
    primary key (tenant, name))`,
  'create index deployment_base on deployment (tenant, base)',
  `create table replica (
    id text not null primary key,
    tenant text not null,
    base text not null,
    slot integer not null,
    address text not null,
    pid bigint not null,
    mark text not null,
    restarts integer not null,
    draining boolean not null,
    created_ms bigint not null)`,
]);
