import { Migration } from '@mikro-orm/migrations';
import { PostgreSqlDriver } from '@mikro-orm/postgresql';

const HOUR_MS = 3_600_000;

/** Sums of what reports, findings and decided reviews say, made of all there are; the tables must be empty. */
export const SUM_UP: readonly string[] = [
  `insert into report_hour select tenant, profile, created_ms / ${HOUR_MS}, line, count(*),
     sum(case when defective then 1 else 0 end), sum(case when reviewed then 1 else 0 end)
     from report group by 1, 2, 3, 4`,
  `insert into finding_hour select tenant, profile, created_ms / ${HOUR_MS}, line, type, severity, count(*)
     from finding group by 1, 2, 3, 4, 5, 6`,
  `insert into review_hour select tenant, profile, created_ms / ${HOUR_MS}, line, reported_defective, decided_defective,
     confirmed, count(*), sum(weight)
     from review where decided group by 1, 2, 3, 4, 5, 6, 7`,
];

/**
 * Sums by hour, numbered from 1970, so that statistics of a month read some thousand rows of a million reports. They are
 * kept in the transactions that keep what they count.
 */
class CountsMigration extends Migration {
  override name = 'vision-counts';

  override up(): void {
    // A row of these is hardly more than its key: SQLite keeps it once.
    const isPostgres = this.driver instanceof PostgreSqlDriver;
    const form = isPostgres ? '' : ' without rowid';
    const place = 'tenant text not null, profile text not null, hour bigint not null, line text not null';
    for (const statement of [
      // All there is is read once, which may take longer than any call's statement.
      ...(isPostgres ? ['set local statement_timeout = 0'] : []),
      `create table report_hour (${place}, reports bigint not null, defective bigint not null, reviewed bigint not null,
         primary key (tenant, profile, hour, line))${form}`,
      `create table finding_hour (${place}, type text not null, severity integer not null, findings bigint not null,
         primary key (tenant, profile, hour, line, type, severity))${form}`,
      `create table review_hour (${place}, reported boolean not null, decided boolean not null,
         confirmed boolean not null, reviews bigint not null, weight double precision not null,
         primary key (tenant, profile, hour, line, reported, decided, confirmed))${form}`,
      ...SUM_UP,
    ]) {
      this.addSql(statement);
    }
  }
}

export const countsMigration = { name: 'vision-counts', migration: CountsMigration };
