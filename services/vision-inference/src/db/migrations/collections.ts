import { Migration } from '@mikro-orm/migrations';
import { PostgreSqlDriver } from '@mikro-orm/postgresql';

/** Collections and their entries, from which an index is made anew whenever it is lost. */
class CollectionsMigration extends Migration {
  override name = 'vision-collections';

  override up(): void {
    const bytes = this.driver instanceof PostgreSqlDriver ? 'bytea' : 'blob';
    for (const statement of [
      `create table collection (id text not null primary key, tenant text not null, name text not null,
         model text not null, dimensions integer not null, description text not null, author text not null,
         created_ms bigint not null, entries integer not null, last_label bigint not null)`,
      'create unique index collection_name on collection (tenant, name)',
      `create table collection_entry (collection text not null, id text not null, label bigint not null,
         vector ${bytes} not null, metadata text not null, primary key (collection, id))`,
      'create unique index collection_entry_label on collection_entry (collection, label)',
    ]) {
      this.addSql(statement);
    }
  }
}

export const collectionsMigration = { name: 'vision-collections', migration: CollectionsMigration };
