import { sqlMigration } from '@landfall/common/db/migration.ts';

/**
 * What two filters ask for is decided within one index, without a look at the rows: behind the id stand the columns that
 * the others filter by. Scores know their prompt.
 */
export const logFiltersMigration = sqlMigration('prompt-log-filters', [
  'drop index invocation_name',
  'drop index invocation_caller',
  'drop index invocation_deployment',
  'create index invocation_name on invocation (tenant, name, id, caller, deployment)',
  'create index invocation_caller on invocation (tenant, caller, id, failed, deployment, name)',
  'create index invocation_deployment on invocation (tenant, deployment, id, failed, caller, name)',
  `alter table score add column prompt text not null default ''`,
  `update score set prompt = coalesce((select i.name from invocation i where i.id = score.invocation_id), '')`,
  'create index score_prompt_value on score (tenant, prompt, name, value, invocation_id)',
  'create index score_prompt_time on score (tenant, prompt, name, invocation_id, value)',
]);
