import { Migration } from '@mikro-orm/migrations';
import { PostgreSqlDriver } from '@mikro-orm/postgresql';

/**
 * What the log is searched by gets columns and indexes of its own; rows that are there already get theirs from their
 * entries. Every index ends with the id, whose order is that of time: a first page is the end of one range.
 */
class LogSearchMigration extends Migration {
  override name = 'prompt-log-search';

  override up(): void {
    const isPostgres = this.driver instanceof PostgreSqlDriver;
    const member = (name: string) =>
      `coalesce(${isPostgres ? 'cast(entry as json)' : 'entry'} ->> '${name}', '')`;
    for (const statement of [
      `alter table invocation add column caller text not null default ''`,
      `alter table invocation add column error text not null default ''`,
      'alter table invocation add column failed boolean not null default false',
      `update invocation set caller = ${member('caller')}, error = ${member('error')}, failed = ${member('error')} <> ''`,
      'create index invocation_name on invocation (tenant, name, id)',
      'create index invocation_name_failed on invocation (tenant, name, failed, id)',
      'create index invocation_caller on invocation (tenant, caller, id)',
      'create index invocation_failed on invocation (tenant, failed, id)',
      'create index invocation_error on invocation (tenant, error, id)',
      `alter table score add column tenant text not null default ''`,
      `update score set tenant = coalesce((select i.tenant from invocation i where i.id = score.invocation_id), '')`,
      // The first tells how many scores lie in a range and which, where they are few; the second walks back in time.
      'create index score_value on score (tenant, name, value, invocation_id)',
      'create index score_time on score (tenant, name, invocation_id, value)',
    ]) {
      this.addSql(statement);
    }
  }
}

export const logSearchMigration = { name: 'prompt-log-search', migration: LogSearchMigration };
