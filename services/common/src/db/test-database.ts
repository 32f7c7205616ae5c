import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { startPostgresCluster } from './postgres-cluster.ts';

/** Where a test's service keeps its rows. */
export interface TestDatabase extends AsyncDisposable {
  /** For LANDFALL_DATABASE_URL; empty for SQLite. */
  url: string;
  /** A folder of the test's own. */
  folder: string;
  kind: 'sqlite' | 'postgres';
}

/**
 * A fresh database for one test file: a temporary SQLite file, or with LANDFALL_TEST_DATABASE=postgres a new
 * database on a cluster that is started from the installed server binaries and removed at the end.
 * @returns undefined, with the reason printed, where PostgreSQL is asked for and not installed
 */
export async function testDatabase(): Promise<TestDatabase | undefined> {
  const folder = mkdtempSync(join(tmpdir(), 'landfall-db-'));
  const remove = () => rmSync(folder, { recursive: true, force: true });
  if (process.env.LANDFALL_TEST_DATABASE !== 'postgres') {
    return { url: '', folder, kind: 'sqlite', [Symbol.asyncDispose]: async () => remove() };
  }
  // A cluster that the test run has started already serves all files; each takes a database of its own.
  const shared = process.env.LANDFALL_TEST_POSTGRES_URL;
  const cluster = shared ? undefined : await startPostgresCluster();
  const admin = shared ?? cluster?.url;
  if (!admin) {
    remove();
    process.stderr.write('skipped: no PostgreSQL server binaries were found (initdb, postgres)\n');
    return undefined;
  }
  const name = `t_${randomUUID().replaceAll('-', '')}`;
  const run = async (sql: string) => {
    const client = new Client({ connectionString: admin });
    await client.connect();
    await client.query(sql).finally(() => client.end());
  };
  await run(`create database ${name}`);
  const url = new URL(admin);
  url.pathname = `/${name}`;
  return {
    url: url.href,
    folder,
    kind: 'postgres',
    [Symbol.asyncDispose]: async () => {
      if (shared) await run(`drop database if exists ${name} with (force)`);
      await cluster?.[Symbol.asyncDispose]();
      remove();
    },
  };
}
