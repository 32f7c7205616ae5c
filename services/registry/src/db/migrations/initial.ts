import type { PortableMigration } from '@landfall/common/db/migration.ts';
import { Migration } from '@mikro-orm/migrations';

const NAME = 'registry-0001-initial';

/**
 * The first schema, for SQLite and PostgreSQL. Text that is sorted or compared by range has the collation "C" in
 * PostgreSQL, so that both order by bytes and pages follow the same order everywhere.
 */
class InitialMigration extends Migration {
  override name = NAME;

  override up(): void {
    const postgres = this.driver.getPlatform().constructor.name.startsWith('Postgre');
    const json = postgres ? 'jsonb' : 'json';
    const uuid = postgres ? 'uuid' : 'text';
    const sorted = postgres ? 'text collate "C"' : 'text';

    this.addSql(`create table model (
      id ${uuid} primary key,
      tenant text not null,
      name ${sorted} not null,
      kind text not null check (kind in ('base', 'adapter', 'dataset')),
      description text not null,
      labels ${json} not null,
      created_ms bigint not null,
      unique (tenant, name))`);
    this.addSql(`create table version (
      id ${uuid} primary key,
      model_id ${uuid} not null references model (id),
      tenant text not null,
      name text not null,
      version text not null,
      precedence ${sorted} not null,
      kind text not null check (kind in ('base', 'adapter', 'dataset')),
      state text not null check (state in ('draft', 'ready')),
      description text not null,
      digest text not null,
      metrics ${json} not null,
      base text not null,
      job_id text not null,
      method text not null,
      labels ${json} not null,
      created_ms bigint not null,
      ready_ms bigint,
      unique (model_id, version))`);
    this.addSql('create index version_precedence on version (model_id, precedence)');
    this.addSql('create index version_newest on version (tenant, id)');
    this.addSql('create index version_name on version (tenant, name, version)');
    this.addSql('create index version_base on version (tenant, base)');
    this.addSql(`create table version_file (
      version_id ${uuid} not null references version (id),
      path text not null,
      digest text not null,
      size_bytes bigint not null check (size_bytes >= 0),
      primary key (version_id, path))`);
    this.addSql('create index version_file_digest on version_file (digest)');
    this.addSql(`create table version_dataset (
      version_id ${uuid} not null references version (id),
      position integer not null,
      tenant text not null,
      ref text not null,
      digest text not null,
      role text not null,
      primary key (version_id, position))`);
    this.addSql('create index version_dataset_ref on version_dataset (tenant, ref)');
    this.addSql(`create table alias (
      model_id ${uuid} not null references model (id),
      alias text not null,
      version_id ${uuid} not null references version (id),
      version text not null,
      revision bigint not null,
      moved_ms bigint not null,
      primary key (model_id, alias))`);
    this.addSql('create index alias_version on alias (version_id)');
  }

  override down(): void {
    for (const table of ['alias', 'version_dataset', 'version_file', 'version', 'model']) {
      this.addSql(`drop table ${table}`);
    }
  }
}

export const initialMigration: PortableMigration = { name: NAME, migration: InitialMigration };
