import { DatabaseSync } from 'node:sqlite';
import { Client } from 'pg';

export type Value = string | number | null;

/** Takes many rows in a short time. */
export interface Sink extends AsyncDisposable {
  insert(table: string, columns: readonly string[], rows: readonly Value[][]): Promise<void>;
  /** Without the indexes of these tables, which are made again behind the work. */
  withoutIndexes(tables: readonly string[], work: () => Promise<void>): Promise<void>;
}

/** Into a SQLite file whose tables are there. */
export function sqliteSink(file: string): Sink {
  const database = new DatabaseSync(file);
  database.exec('pragma journal_mode = WAL; pragma synchronous = OFF; pragma cache_size = -200000');
  return {
    async insert(table, columns, rows) {
      const places = columns.map(() => '?').join(', ');
      const statement = database.prepare(`insert into ${table} (${columns.join(', ')}) values (${places})`);
      database.exec('begin');
      for (const row of rows) statement.run(...row);
      database.exec('commit');
    },
    async withoutIndexes(tables, work) {
      const names = tables.map((table) => `'${table}'`).join(', ');
      const indexes = database
        .prepare(
          `select name, sql from sqlite_master where type = 'index' and sql is not null and tbl_name in (${names})`,
        )
        .all() as { name: string; sql: string }[];
      for (const { name } of indexes) database.exec(`drop index ${name}`);
      await work();
      for (const { sql } of indexes) database.exec(sql);
    },
    async [Symbol.asyncDispose]() {
      database.exec('pragma wal_checkpoint(truncate)');
      database.close();
    },
  };
}

/** Into the schema `prompt` of a PostgreSQL database whose tables are there. */
export async function postgresSink(url: string): Promise<Sink> {
  const client = new Client({
    connectionString: url,
    options: '-c search_path=prompt -c synchronous_commit=off',
  });
  await client.connect();
  return {
    async insert(table, columns, rows) {
      const types = await client.query(
        `select column_name, data_type from information_schema.columns where table_schema = 'prompt' and table_name = $1`,
        [table],
      );
      const typeOf = new Map(types.rows.map((row) => [row.column_name, row.data_type]));
      const lists = columns.map((column, i) => `$${i + 1}::${typeOf.get(column)}[]`).join(', ');
      const values = columns.map((_, i) => rows.map((row) => row[i]));
      await client.query(
        `insert into ${table} (${columns.join(', ')}) select * from unnest(${lists})`,
        values,
      );
    },
    async withoutIndexes(tables, work) {
      const found = await client.query(
        `select indexname, indexdef from pg_indexes where schemaname = 'prompt' and tablename = any($1)
           and indexname not in (select conname from pg_constraint)`,
        [tables],
      );
      for (const { indexname } of found.rows) await client.query(`drop index ${indexname}`);
      await work();
      await client.query(`set maintenance_work_mem = '512MB'`);
      for (const { indexdef } of found.rows) await client.query(indexdef);
      // What autovacuum does by itself a minute later.
      await client.query('vacuum analyze');
    },
    async [Symbol.asyncDispose]() {
      await client.end();
    },
  };
}
