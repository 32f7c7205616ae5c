import { sqlMigration } from '@landfall/common/db/migration.ts';

export const experimentsMigration = sqlMigration('prompt-experiments', [
  `create table experiment (id text not null primary key, tenant text not null, name text not null, label text not null,
     running boolean not null, content text not null, tallies text not null, created_ms bigint not null)`,
  'create unique index experiment_running on experiment (tenant, name, label) where running',
  'create index experiment_prompt on experiment (tenant, name, id)',
  `create table experiment_subject (experiment_id text not null, subject text not null, invocation_id text not null,
     primary key (experiment_id, subject))`,
  'create index experiment_subject_invocation on experiment_subject (experiment_id, invocation_id)',
]);
