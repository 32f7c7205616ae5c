import { sqlMigration } from '@landfall/common/db/migration.ts';

export const logPoliciesMigration = sqlMigration('prompt-log-policies', [
  `create table log_policy (tenant text not null, target text not null, content integer not null, keep_for_ms bigint,
     author text not null, changed_ms bigint not null, primary key (tenant, target))`,
  `create table scoring_policy (tenant text not null, prompt text not null, name text not null, content text not null,
     primary key (tenant, prompt, name))`,
  `create table judge_task (invocation_id text not null, policy text not null, tenant text not null, prompt text not null,
     tries integer not null, due_ms bigint not null, primary key (invocation_id, policy))`,
  'create index judge_task_due on judge_task (due_ms)',
]);
