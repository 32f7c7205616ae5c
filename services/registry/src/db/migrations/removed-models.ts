import { sqlMigration } from '@landfall/common/db/migration.ts';

/** Where the revisions of a model ended that was removed. */
export const removedModelsMigration = sqlMigration('registry-0005-removed-models', [
  `create table removed_model (
     tenant text not null,
     name text not null,
     revision bigint not null,
     primary key (tenant, name))`,
]);
