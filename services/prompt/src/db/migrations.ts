import { sqlMigration } from '@landfall/common/db/migration.ts';
import { accessMigration } from './migrations/access.ts';
import { contentsMigration } from './migrations/contents.ts';
import { evaluationMigration } from './migrations/evaluation.ts';
import { experimentsMigration } from './migrations/experiments.ts';
import { labelMovesMigration } from './migrations/label-moves.ts';
import { logFactsMigration } from './migrations/log-facts.ts';
import { logFiltersMigration } from './migrations/log-filters.ts';
import { logPoliciesMigration } from './migrations/log-policies.ts';
import { logSearchMigration } from './migrations/log-search.ts';

export const promptMigrations = [
  sqlMigration('prompt-0001', [
    `create table prompt (tenant text not null, name text not null, description text not null, task integer not null,
       latest_version text not null, created_ms bigint not null, primary key (tenant, name))`,
    `create table prompt_version (tenant text not null, name text not null, version text not null, content text not null,
       digest text not null, author text not null, created_ms bigint not null, primary key (tenant, name, version))`,
    `create table prompt_label (tenant text not null, name text not null, label text not null, version text not null,
       revision bigint not null, primary key (tenant, name, label))`,
    `create table invocation (id text not null primary key, tenant text not null, name text not null, version text not null,
       deployment text not null, request_id text, request_digest text not null, entry text not null,
       created_ms bigint not null, unique (tenant, request_id))`,
    'create index invocation_time on invocation (tenant, id)',
    'create index invocation_prompt on invocation (tenant, name, version, id)',
    'create index invocation_deployment on invocation (tenant, deployment, id)',
    `create table score (invocation_id text not null, name text not null, author text not null,
       value double precision not null, reason text not null, created_ms bigint not null,
       primary key (invocation_id, name, author))`,
  ]),
  logSearchMigration,
  accessMigration,
  experimentsMigration,
  contentsMigration,
  evaluationMigration,
  labelMovesMigration,
  logFiltersMigration,
  logPoliciesMigration,
  logFactsMigration,
];
