import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { EntityManager } from '@landfall/common/db/database.ts';
import { resourceExhausted } from '@landfall/common/errors/errors.ts';
import {
  type GetStatisticsResponseSchema,
  TimeBucket,
} from '@landfall/proto/landfall/vision/v1/inspection_service_pb.js';
import { type CountColumn, type CountRange, CountSource } from './count-source.ts';
import { HOUR_MS } from './counts.ts';

/** What is counted, and how finely. */
export interface Range extends CountRange {
  bucket: TimeBucket;
}

const REPORTS: readonly CountColumn[] = [
  ['reports', '1'],
  ['defective', 'case when defective then 1 else 0 end'],
  ['reviewed', 'case when reviewed then 1 else 0 end'],
];
const LINE: CountColumn = ['line', 'line'];
const TYPES: readonly CountColumn[] = [LINE, ['type', 'type'], ['severity', 'severity']];
const FINDINGS: readonly CountColumn[] = [['findings', '1']];
const OUTCOMES: readonly CountColumn[] = [
  ['reported', 'reported_defective'],
  ['decided', 'decided_defective'],
  ['confirmed', 'confirmed'],
];
const REVIEWS: readonly CountColumn[] = [
  ['reviews', '1'],
  ['weight', 'weight'],
];

const DAY_MS = 24 * HOUR_MS;
/** 1970 began on a Thursday: the first Monday came four days later. */
const WEEK_BEGINS_MS = 4 * DAY_MS;
const LENGTHS: Partial<Record<TimeBucket, number>> = {
  [TimeBucket.HOUR]: HOUR_MS,
  [TimeBucket.DAY]: DAY_MS,
  [TimeBucket.WEEK]: 7 * DAY_MS,
};
const MOST_BUCKETS = 2000;

interface Counted {
  bucket: string | number;
  line: string;
}

/**
 * Counts from sums by hour, and what of the range is no whole hour from reports themselves, by index alone.
 * @throws LandfallError RESOURCE_EXHAUSTED for more buckets than anyone reads
 */
export async function statistics(
  em: EntityManager,
  range: Range,
): Promise<MessageInitShape<typeof GetStatisticsResponseSchema>> {
  const fromMs = range.fromMs || (await firstReport(em, range)) || range.toMs;
  const length = LENGTHS[range.bucket];
  if (length && (range.toMs - fromMs) / length > MOST_BUCKETS) {
    throw resourceExhausted(`more than ${MOST_BUCKETS} buckets lie between from and to; take longer ones`, {
      reason: 'TOO_MANY_BUCKETS',
    });
  }
  const shift = range.bucket === TimeBucket.WEEK ? WEEK_BEGINS_MS : 0;
  // Both databases divide whole numbers to whole numbers.
  const bucketOf = (ms: string) => (length ? `(${ms} - ${shift}) / ${length}` : '0');
  const timeOf = (row: Counted) => timestampFromMs(length ? Number(row.bucket) * length + shift : fromMs);
  const source = new CountSource({ ...range, fromMs }, bucketOf);
  const run = <T>([sql, values]: [string, unknown[]]) => em.getConnection().execute<T[]>(sql, values);
  const reports = await run<Counted & Record<'reports' | 'defective' | 'reviewed', number>>(
    source.select('report', [LINE], REPORTS),
  );
  const findings = await run<Counted & { type: string; severity: number; findings: number }>(
    source.select('finding', TYPES, FINDINGS),
  );
  return {
    reports: reports.map((row) => ({
      ...{ time: timeOf(row), line: row.line, reports: BigInt(row.reports) },
      ...{ defective: BigInt(row.defective), reviewed: BigInt(row.reviewed) },
    })),
    defects: findings.map((row) => ({
      ...{ time: timeOf(row), line: row.line, type: row.type, severity: row.severity },
      count: BigInt(row.findings),
    })),
    rates: await rates(em, source),
  };
}

async function firstReport(em: EntityManager, { tenant, profile }: Range): Promise<number> {
  const [row] = await em
    .getConnection()
    .execute<{ first: string | number | null }[]>(
      'select min(created_ms) as first from report where tenant = ? and profile = ?',
      [tenant, profile],
    );
  return Number(row?.first ?? 0);
}

/** How often reports were wrong, each review weighing as many reports as it stands for. */
async function rates(em: EntityManager, source: CountSource) {
  const [sql, values] = source.select('review', OUTCOMES, REVIEWS, 'decided = true');
  const rows = await em.getConnection().execute<
    {
      reported: boolean | number;
      decided: boolean | number;
      confirmed: boolean | number;
      reviews: number;
      weight: number;
    }[]
  >(sql, values);
  const sum = (of: 'reviews' | 'weight', which: (row: (typeof rows)[number]) => unknown = () => true) =>
    rows.filter(which).reduce((total, row) => total + Number(row[of]), 0);
  const share = (part: number, whole: number) => (whole === 0 ? 0 : part / whole);
  const [sound, defective] = [sum('weight', (row) => !row.decided), sum('weight', (row) => row.decided)];
  return {
    reviews: BigInt(sum('reviews')),
    falseAlarmRate: share(
      sum('weight', (row) => row.reported && !row.decided),
      sound,
    ),
    missRate: share(
      sum('weight', (row) => !row.reported && row.decided),
      defective,
    ),
    correctedRate: share(
      sum('weight', (row) => !row.confirmed),
      sound + defective,
    ),
    ...{ sound, defective },
  };
}
