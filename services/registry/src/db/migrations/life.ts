import type { PortableMigration } from '@landfall/common/db/migration.ts';
import { Migration } from '@mikro-orm/migrations';

const NAME = 'registry-0003-life';

/** What becomes of versions: stages, gates, deprecation, deletion, their history, and the deployments that use them. */
class LifeMigration extends Migration {
  override name = NAME;

  override up(): void {
    const postgres = this.driver.getPlatform().constructor.name.startsWith('Postgre');
    const json = postgres ? 'jsonb' : 'json';
    const uuid = postgres ? 'uuid' : 'text';
    const sorted = postgres ? 'text collate "C"' : 'text';

    this.addSql('alter table model add column revision bigint not null default 0');
    for (const column of [
      `stage text not null default 'development'
         check (stage in ('development', 'staging', 'production', 'archived'))`,
      "license text not null default ''",
      `tags ${json} not null default '[]'`,
      "source text not null default ''",
      "created_by text not null default ''",
      'deprecated_ms bigint',
      'sunset_ms bigint',
      "deprecation_reason text not null default ''",
      "successor text not null default ''",
      'deleted_ms bigint',
      'purge_ms bigint',
      'purged_ms bigint',
    ]) {
      this.addSql(`alter table version add column ${column}`);
    }
    // Few versions are deleted at any time; the purge looks for those alone.
    this.addSql('create index version_purge on version (purge_ms) where purge_ms is not null');
    this.addSql(`create table version_prompt (
      version_id ${uuid} not null references version (id),
      position integer not null,
      tenant text not null,
      ref text not null,
      role text not null,
      primary key (version_id, position))`);
    this.addSql(`create table alias_policy (
      tenant text not null,
      name ${sorted} not null,
      alias ${sorted} not null,
      policy ${json} not null,
      primary key (tenant, name, alias))`);
    this.addSql(`create table removed_alias (
      model_id ${uuid} not null references model (id),
      alias text not null,
      revision bigint not null,
      primary key (model_id, alias))`);
    this.addSql(`create table version_check (
      id ${uuid} primary key,
      version_id ${uuid} not null references version (id),
      check_name text not null,
      passed boolean not null,
      detail text not null,
      evidence text not null,
      recorded_by text not null,
      recorded_ms bigint not null)`);
    this.addSql('create index version_check_newest on version_check (version_id, check_name, id)');
    this.addSql(`create table version_approval (
      version_id ${uuid} not null references version (id),
      alias text not null,
      approved_by text not null,
      comment text not null,
      approved_ms bigint not null,
      primary key (version_id, alias, approved_by))`);
    this.addSql(`create table model_history (
      model_id ${uuid} not null references model (id),
      revision bigint not null,
      change text not null,
      version text not null,
      alias text not null,
      actor text not null,
      detail text not null,
      at_ms bigint not null,
      primary key (model_id, revision))`);
    this.addSql('create index model_history_version on model_history (model_id, version, revision)');
    this.addSql(`create table deployment_use (
      tenant text not null,
      name text not null,
      model text not null,
      state text not null,
      revision bigint not null,
      primary key (tenant, name))`);
    this.addSql('create index deployment_use_model on deployment_use (tenant, model)');
  }
}

export const lifeMigration: PortableMigration = { name: NAME, migration: LifeMigration };
