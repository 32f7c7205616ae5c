import type { PortableMigration } from '@landfall/common/db/migration.ts';
import { Migration } from '@mikro-orm/migrations';

const NAME = 'registry-0004-catalog';

/** What versions are found and told by: facts of their files, words, tags, metrics. */
class CatalogMigration extends Migration {
  override name = NAME;

  override up(): void {
    const postgres = this.driver.getPlatform().constructor.name.startsWith('Postgre');
    const json = postgres ? 'jsonb' : 'json';
    const uuid = postgres ? 'uuid' : 'text';
    const sorted = postgres ? 'text collate "C"' : 'text';

    // Versions from before are described by the housekeeping.
    this.addSql('alter table version add column described boolean not null default false');
    this.addSql(
      "create index version_undescribed on version (id) where described = false and state = 'ready'",
    );
    this.addSql(`create table version_card (
      version_id ${uuid} primary key references version (id),
      facts ${json} not null,
      readme text not null)`);
    for (const [table, column] of [
      ['version_term', 'term'],
      ['version_tag', 'tag'],
    ]) {
      this.addSql(`create table ${table} (
        tenant text not null,
        ${column} ${sorted} not null,
        version_id ${uuid} not null references version (id),
        primary key (tenant, ${column}, version_id))`);
      this.addSql(`create index ${table}_version on ${table} (version_id)`);
    }
    this.addSql(`create table version_metric (
      tenant text not null,
      metric ${sorted} not null,
      value double precision not null,
      version_id ${uuid} not null references version (id),
      primary key (version_id, metric))`);
    this.addSql('create index version_metric_value on version_metric (tenant, metric, value, version_id)');
  }
}

export const catalogMigration: PortableMigration = { name: NAME, migration: CatalogMigration };
