import { sqlMigration } from '@landfall/common/db/migration.ts';

export const batchesMigration = sqlMigration('vision-batches', [
  `create table batch (id text not null primary key, tenant text not null, state integer not null, profile text not null,
     profile_version integer not null, dataset text not null, deployment text not null, line text not null,
     total integer not null, done integer not null, failed integer not null, defective integer not null,
     failure text not null, author text not null, author_role integer not null, owner text not null,
     lease_ms bigint not null, created_ms bigint not null, ended_ms bigint, revision bigint not null)`,
  'create index batch_state on batch (state, id)',
]);
