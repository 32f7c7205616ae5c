import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Database, type EntityManager } from '@landfall/common/db/database.ts';
import { TimeBucket } from '@landfall/proto/landfall/vision/v1/inspection_service_pb.js';
import { visionEntities } from '@landfall/vision-inference/db/entities.ts';
import { SUM_UP } from '@landfall/vision-inference/db/migrations/counts.ts';
import { visionMigrations } from '@landfall/vision-inference/db/migrations.ts';
import { type Range, statistics } from '@landfall/vision-inference/domain/statistics.ts';
import type { Report } from './report.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const MONTH_MS = 30 * DAY_MS;
const PROFILE = 'surface';
const LINES = 8;
const ROUNDS = 9;
/** What a month's statistics may take at most. */
const MOST_MS = 200;

/**
 * `npm run bench -- inspect-statistics [--reports 1000000] [--database-url postgres://...]`: how long counts and rates of a
 * profile take over so many reports of one month, one in five with a defect and one in ten decided by people; in SQLite, or
 * in a new tenant of a PostgreSQL database. Next to it what counting the rows themselves takes, and
 * the time of this process alone, in which SQLite runs.
 */
export async function run(report: Report, args: string[]): Promise<object> {
  const { values } = parseArgs({
    args,
    options: {
      reports: { type: 'string', default: '1000000' },
      'database-url': { type: 'string', default: '' },
    },
  });
  const count = Number(values.reports);
  const url = values['database-url'];
  const folder = mkdtempSync(join(tmpdir(), 'landfall-bench-statistics-'));
  try {
    await using database = await Database.open({
      ...{ service: 'vision-inference', url, file: join(folder, 'vision.sqlite') },
      ...{ entities: visionEntities, migrations: visionMigrations },
    });
    // The month ends amid an hour, as it does whenever somebody asks.
    const toMs = Math.floor(Date.now() / HOUR_MS) * HOUR_MS + HOUR_MS / 3;
    const month = { tenant: randomUUID(), profile: PROFILE, line: '', fromMs: toMs - MONTH_MS, toMs };
    const filled = performance.now();
    await database.transaction((em) => fill(em, month, count, database.isPostgres));
    // As PostgreSQL does it by itself, a while after many rows came.
    if (database.isPostgres) await database.fork().execute('analyze');
    report.figure('fill', (performance.now() - filled) / 1000, 's');
    const em = database.fork();
    let slowest = 0;
    for (const [name, range] of [
      ['month-by-day', { ...month, bucket: TimeBucket.DAY }],
      ['month-by-hour', { ...month, bucket: TimeBucket.HOUR }],
      ['month-of-a-line', { ...month, line: 'line-3', bucket: TimeBucket.UNSPECIFIED }],
      ['all-time', { ...month, fromMs: 0, bucket: TimeBucket.UNSPECIFIED }],
    ] as [string, Range][]) {
      const { ms, cpuMs } = await least(ROUNDS, () => statistics(em, range));
      slowest = Math.max(slowest, ms);
      report.figure(name, ms, 'ms');
      report.figure(`${name}.cpu`, cpuMs, 'ms');
    }
    const byDay = () => statistics(em, { ...month, bucket: TimeBucket.DAY });
    const rows = () => countRows(em, month);
    report.ratio('sums-to-rows', (await least(ROUNDS, byDay)).ms, (await least(ROUNDS, rows)).ms, 'ms');
    const told = (await byDay()).reports!.reduce((sum, one) => sum + Number(one.reports), 0);
    if (told !== count || (await rows()) !== count)
      throw new Error(`${told} reports were counted of ${count}`);
    if (slowest > MOST_MS) process.exitCode = 1;
    return { reports: count, database: url ? 'postgres' : 'sqlite' };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The least of so many rounds, in milliseconds: what else the machine does can only add. */
async function least(rounds: number, work: () => Promise<unknown>): Promise<{ ms: number; cpuMs: number }> {
  const shortest = { ms: Infinity, cpuMs: Infinity };
  for (let round = 0; round < rounds; round++) {
    const [start, before] = [performance.now(), process.cpuUsage()];
    await work();
    const { user, system } = process.cpuUsage(before);
    shortest.ms = Math.min(shortest.ms, performance.now() - start);
    shortest.cpuMs = Math.min(shortest.cpuMs, (user + system) / 1000);
  }
  return shortest;
}

/** Reports by day and line from their rows, by index. */
async function countRows(em: EntityManager, { tenant, profile, fromMs, toMs }: Omit<Range, 'bucket'>) {
  const rows = await em.getConnection().execute<{ n: number | string }[]>(
    `select created_ms / ${DAY_MS} as day, line, count(*) as n, sum(case when defective then 1 else 0 end) as defective
       from report where tenant = ? and profile = ? and created_ms >= ? and created_ms < ? group by 1, 2`,
    [tenant, profile, fromMs, toMs],
  );
  return rows.reduce((sum, { n }) => sum + Number(n), 0);
}

/** Rows as the service writes them, made in the database; their sums as its migration makes them. */
async function fill(
  em: EntityManager,
  { tenant, fromMs }: Omit<Range, 'bucket'>,
  count: number,
  isPostgres: boolean,
): Promise<void> {
  if (isPostgres) await em.execute('set local statement_timeout = 0');
  // Ids are in order of time, and a prefix keeps those of tenants apart.
  const series = `with recursive n(i) as (select 0 union all select i + 1 from n where i + 1 < ${count})`;
  const id = (prefix: string) => {
    const number = isPostgres ? `lpad(cast(i as text), 9, '0')` : `substr('000000000' || i, -9)`;
    return `'${prefix}-${tenant.slice(0, 8)}-' || ${number}`;
  };
  const created = `${fromMs} + cast(i as bigint) * ${MONTH_MS} / ${count}`;
  const line = `'line-' || (i * 7 % ${LINES})`;
  const [yes, no] = ['(1 = 1)', '(1 = 0)'];
  await em.execute(
    `${series} insert into report (id, tenant, request_id, request_digest, profile, profile_version, line, batch_id,
       defective, reviewed, image_digest, image_until_ms, content, answer, spans, created_ms)
     select ${id('r')}, '${tenant}', null, '', '${PROFILE}', 1, ${line}, '', (i % 5 = 0), (i % 10 < 1), '', null, '{}', '',
       '[]', ${created} from n`,
  );
  await em.execute(
    `${series} insert into finding (report_id, number, tenant, profile, line, type, severity, created_ms)
     select ${id('r')}, 0, '${tenant}', '${PROFILE}', ${line}, 'type-' || (i / 5 % 4), i / 20 % 3 + 1, ${created}
       from n where i % 5 = 0`,
  );
  await em.execute(
    `${series} insert into review (id, tenant, report_id, profile, line, model, cause, decided, two_person, claim_ms,
       claimed_by, claim_until_ms, decisions, first_reviewer, second_reviewer, content, confirmed, raw_probability,
       weight, reported_defective, decided_defective, created_ms, decided_ms, revision)
     select ${id('v')}, '${tenant}', ${id('r')}, '${PROFILE}', ${line}, 'models:/eye/1.0.0', 1, ${yes}, ${no}, 900000, '', 0,
       1, '', '', '{}', (i % 30 <> 0), 0.9, 10, (i % 5 = 0), (i % 5 = 0 and i % 30 <> 0), ${created}, ${created}, 2
       from n where i % 10 = 0`,
  );
  for (const table of ['report', 'finding', 'review'])
    await em.execute(`delete from ${table}_hour where tenant = ?`, [tenant]);
  for (const statement of SUM_UP)
    await em.execute(
      statement.replace(
        /( group by)/,
        ` ${/ where /.test(statement) ? 'and' : 'where'} tenant = '${tenant}'$1`,
      ),
    );
}
