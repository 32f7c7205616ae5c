import { sqlMigration } from '@landfall/common/db/migration.ts';

/** The tuned version that a version was tuned on from. */
export const parentsMigration = sqlMigration('registry-0002-parents', [
  "alter table version add column parent text not null default ''",
  'create index version_parent on version (tenant, parent)',
]);
