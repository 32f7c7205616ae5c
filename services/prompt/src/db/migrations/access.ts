import { sqlMigration } from '@landfall/common/db/migration.ts';

/** Folders, grants, and who made a prompt becoming its owner. */
export const accessMigration = sqlMigration('prompt-access', [
  `alter table prompt add column folder text not null default ''`,
  'create index prompt_folder on prompt (tenant, folder, name)',
  `create table prompt_access (tenant text not null, target text not null, restricted boolean not null,
     revision bigint not null, primary key (tenant, target))`,
  `create table prompt_grant (tenant text not null, target text not null, grantee text not null, level integer not null,
     author text not null, created_ms bigint not null, primary key (tenant, target, grantee))`,
  'create index prompt_grant_grantee on prompt_grant (tenant, grantee, target)',
  // Prompts that are there already belong to the author of their first version.
  `insert into prompt_grant (tenant, target, grantee, level, author, created_ms)
     select v.tenant, 'prompts/' || v.name, v.author, 4, v.author, v.created_ms from prompt_version v
     where v.version = '1.0.0'`,
]);
