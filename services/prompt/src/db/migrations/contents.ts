import { sqlMigration } from '@landfall/common/db/migration.ts';

/** Where a version came from, what it changed, and drafts. */
export const contentsMigration = sqlMigration('prompt-contents', [
  `alter table prompt_version add column origin text not null default ''`,
  'alter table prompt_version add column change integer not null default 0',
  'create index prompt_version_time on prompt_version (tenant, name, created_ms, version)',
  `create table prompt_draft (tenant text not null, name text not null, draft_name text not null, content text not null,
     base_version text not null, revision bigint not null, author text not null, created_ms bigint not null,
     updated_ms bigint not null, primary key (tenant, name, draft_name))`,
]);
