import { sqlMigration } from '@landfall/common/db/migration.ts';

/** What a search by score filters by beside it, by the id that the score has: decided without a look at the rows. */
export const logFactsMigration = sqlMigration('prompt-log-facts', [
  'create index invocation_facts on invocation (id, caller, deployment, version, error, failed)',
]);
