import type { Configuration } from '@mikro-orm/core';
import { PostgreSqlDriver } from '@mikro-orm/postgresql';
import { NodeSqliteDialect } from '@mikro-orm/sql';

type Driver = ReturnType<NodeSqliteDialect['createDriver']>;

/**
 * What a rollback says when there is nothing to roll back: SQLite has done so by itself (a full disk), or the
 * connection has gone and the transaction with it.
 */
const NOTHING_TO_ROLL_BACK =
  /no transaction is active|terminat|not queryable|connection error|ECONNRESET|EPIPE|Connection ended/i;

/**
 * Kysely gives a transaction's connection back only behind a rollback that succeeded. Where there is nothing to roll
 * back that would never be, and each such failure would cost a connection: SQLite has one, PostgreSQL's pool eight.
 */
function releasing(driver: Driver): Driver {
  const rollback = driver.rollbackTransaction.bind(driver);
  driver.rollbackTransaction = async (connection) => {
    try {
      await rollback(connection);
    } catch (error) {
      if (!NOTHING_TO_ROLL_BACK.test((error as Error).message)) throw error;
    }
  };
  return driver;
}

/** node:sqlite, with connections that come back from every failed transaction. */
export class ReleasingSqliteDialect extends NodeSqliteDialect {
  override createDriver(): Driver {
    return releasing(super.createDriver());
  }
}

/** PostgreSQL, with connections that come back from every failed transaction; the pool drops those that broke. */
export class ReleasingPostgreSqlDriver extends PostgreSqlDriver {
  constructor(config: Configuration) {
    super(config);
    const makeDialect = this.connection.createKyselyDialect.bind(this.connection);
    this.connection.createKyselyDialect = (overrides) => {
      const dialect = makeDialect(overrides);
      const createDriver = dialect.createDriver.bind(dialect);
      dialect.createDriver = () => releasing(createDriver());
      return dialect;
    };
  }
}
