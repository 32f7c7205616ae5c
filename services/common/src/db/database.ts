import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import {
  DeadlockException,
  DriverException,
  type EntitySchema,
  MikroORM,
  type Options,
  UniqueConstraintViolationException,
} from '@mikro-orm/core';
import { Migrator } from '@mikro-orm/migrations';
import { PostgreSqlDriver } from '@mikro-orm/postgresql';
import { type SqlEntityManager, SqliteDriver } from '@mikro-orm/sql';
import { Client } from 'pg';
import { LandfallError, unavailable } from '../errors/errors.ts';
import { chassisEntities, chassisMigrations } from './chassis-tables.ts';
import type { PortableMigration } from './migration.ts';
import { ReleasingPostgreSqlDriver, ReleasingSqliteDialect } from './releasing.ts';

/** What a unit of work reads and writes with; forked per call and per message. */
export type EntityManager = SqlEntityManager;

export interface DatabaseOptions {
  /** Name of the service; its schema in PostgreSQL. */
  service: string;
  /** `postgres://...`; empty for SQLite. */
  url: string;
  /** SQLite file, used without a URL. */
  file: string;
  // biome-ignore lint/suspicious/noExplicitAny: MikroORM types a list of entities of any shape so.
  entities: EntitySchema<any, any, any>[];
  /** In order; names never change once released. */
  migrations: readonly PortableMigration[];
}

/** Names of schemas in PostgreSQL take no hyphen without quotes. */
const schemaName = (service: string) => service.replaceAll('-', '_');

/**
 * A service's own database: a SQLite file (node:sqlite, WAL, synced before a commit returns) or a schema of a
 * PostgreSQL database. Migrations have run when it is open.
 */
export class Database implements AsyncDisposable {
  readonly orm: MikroORM;
  /** Called after each committed transaction; the outbox relay listens here. */
  readonly onCommit = new Set<() => void>();

  private constructor(orm: MikroORM) {
    this.orm = orm;
  }

  static async open(options: DatabaseOptions): Promise<Database> {
    const { service, url, file } = options;
    const entities = [...chassisEntities, ...options.entities];
    const migrations = [...chassisMigrations, ...options.migrations];
    const common = {
      entities,
      extensions: [Migrator],
      migrations: {
        migrationsList: migrations.map(({ name, migration }) => ({ name, class: migration })),
        snapshot: false,
      },
      allowGlobalContext: false,
      logger: () => {},
    } as const;
    const orm = url
      ? await MikroORM.init(await postgresOptions(common, url, schemaName(service)))
      : await MikroORM.init(sqliteOptions(common, file));
    if (!url) {
      const connection = orm.em.getDriver().getConnection();
      for (const pragma of [
        'journal_mode = WAL',
        'synchronous = FULL',
        'foreign_keys = ON',
        'busy_timeout = 5000',
      ]) {
        await connection.execute(`pragma ${pragma}`);
      }
    }
    await migrate(orm, url, schemaName(service));
    return new Database(orm);
  }

  get isPostgres(): boolean {
    return (
      this.orm.em.getPlatform().usesReturningStatement() &&
      this.orm.em.getDriver() instanceof PostgreSqlDriver
    );
  }

  /** A fresh EntityManager for reads. */
  fork(): EntityManager {
    return this.orm.em.fork() as EntityManager;
  }

  /** Reads with a fresh EntityManager; a database that is away is UNAVAILABLE. */
  async read<T>(work: (em: EntityManager) => Promise<T>): Promise<T> {
    return guarded(() => work(this.fork()));
  }

  /**
   * One transaction: all of it is kept, or nothing. One that loses a race (another took the same key between its look
   * and its write, or held rows crosswise) does its work again and finds what the other has written.
   */
  async transaction<T>(work: (em: EntityManager) => Promise<T>): Promise<T> {
    const attempt = () => guarded(() => this.fork().transactional((em) => work(em as EntityManager)));
    for (let races = 1; ; races++) {
      try {
        const result = await attempt();
        for (const listener of this.onCommit) listener();
        return result;
      } catch (error) {
        if (races === MOST_RACES || !isLostRace(error)) throw error;
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.orm.close(true);
  }
}

function sqliteOptions(common: object, file: string): Options {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  return {
    ...common,
    driver: SqliteDriver,
    dbName: file,
    driverOptions: new ReleasingSqliteDialect(file),
  } as unknown as Options;
}

async function postgresOptions(common: object, url: string, schema: string): Promise<Options> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    // Two processes may start at once: `if not exists` alone can still collide on the catalogue's unique index.
    await client.query('select pg_advisory_lock(4701)');
    await client.query(`create schema if not exists "${schema}"`);
  } finally {
    await client.end();
  }
  return {
    ...common,
    driver: ReleasingPostgreSqlDriver,
    clientUrl: url,
    schema,
    driverOptions: {
      options: `-c search_path=${schema}`,
      connectionTimeoutMillis: 5000,
      statement_timeout: 30_000,
    },
    pool: { min: 0, max: 8 },
  } as unknown as Options;
}

async function migrate(orm: MikroORM, url: string, schema: string): Promise<void> {
  if (!url) {
    await orm.migrator.up();
    return;
  }
  // Only one process migrates a schema at a time; the others find it done.
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    await client.query('select pg_advisory_lock(4702, hashtext($1))', [schema]);
    await orm.migrator.up();
  } finally {
    await client.end();
  }
}

/** A key that is still taken after so many is taken for good. */
const MOST_RACES = 3;

const isLostRace = (error: unknown) =>
  error instanceof UniqueConstraintViolationException || error instanceof DeadlockException;

/** Codes of node and PostgreSQL (class 08, 57P0x) that mean "away", not "wrong". */
const AWAY = /^(ECONNREFUSED|ECONNRESET|EPIPE|ETIMEDOUT|ENOENT|08...|57P0[123])$/;

async function guarded<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof LandfallError) throw error;
    const code = errorCode(error);
    const message = error instanceof Error ? error.message : '';
    if (
      (code && AWAY.test(code)) ||
      /Connection terminated|timeout exceeded when trying to connect/.test(message)
    ) {
      throw unavailable('the database does not answer; try again', { cause: error });
    }
    if (code === 'SQLITE_FULL' || code === '53100' || /database or disk is full/.test(message)) {
      throw new LandfallError(8, 'the disk is full: nothing was written', {
        reason: 'DISK_FULL',
        cause: error,
      });
    }
    throw error;
  }
}

function errorCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null) return undefined;
  const { code, cause } = error as { code?: unknown; cause?: unknown };
  if (typeof code === 'string') return code;
  return error instanceof DriverException ? undefined : errorCode(cause);
}
