import { Migration } from '@mikro-orm/migrations';

/** A migration and its name. */
export interface PortableMigration {
  name: string;
  migration: typeof Migration & (new (...args: ConstructorParameters<typeof Migration>) => Migration);
}

/**
 * A migration in SQL that SQLite and PostgreSQL both read. Portable column types: `text`, `bigint` (whole numbers,
 * times in milliseconds since 1970), `double precision`, `boolean`, `json`.
 */
export function sqlMigration(name: string, statements: readonly string[]): PortableMigration {
  class SqlMigration extends Migration {
    override name = name;

    override up(): void {
      for (const statement of statements) this.addSql(statement);
    }
  }
  return { name, migration: SqlMigration };
}
