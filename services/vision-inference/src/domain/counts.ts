import type { EntityManager } from '@landfall/common/db/database.ts';
import type { Defect } from '@landfall/proto/landfall/vision/v1/inspection_pb.js';
import type { ReportRow, ReviewRow } from '../db/inspection-entities.ts';

export const HOUR_MS = 3_600_000;

type Place = Pick<ReportRow, 'tenant' | 'profile' | 'line' | 'createdMs'>;

/**
 * Adds a new report to the sums of its hour. Rows of sums are locked until the transaction ends: call it last, and always
 * in this order, so that two reports wait for one another briefly and never in a ring.
 */
export async function countReport(
  em: EntityManager,
  report: Place & Pick<ReportRow, 'defective' | 'reviewed'>,
  defects: readonly Pick<Defect, 'type' | 'severity'>[],
): Promise<void> {
  await em.execute(
    `insert into report_hour values (?, ?, ?, ?, 1, ?, ?) on conflict (tenant, profile, hour, line) do update
       set reports = report_hour.reports + 1, defective = report_hour.defective + excluded.defective,
         reviewed = report_hour.reviewed + excluded.reviewed`,
    [...placeOf(report), Number(report.defective), Number(report.reviewed)],
  );
  const found = new Map<string, { type: string; severity: number; count: number }>();
  for (const { type, severity } of defects) {
    const key = JSON.stringify([type, severity]);
    found.set(key, { type, severity, count: (found.get(key)?.count ?? 0) + 1 });
  }
  for (const [, { type, severity, count }] of [...found].sort(([a], [b]) => (a < b ? -1 : 1))) {
    await em.execute(
      `insert into finding_hour values (?, ?, ?, ?, ?, ?, ?)
         on conflict (tenant, profile, hour, line, type, severity)
         do update set findings = finding_hour.findings + excluded.findings`,
      [...placeOf(report), type, severity, count],
    );
  }
}

/** Adds a review to the sums of its report's hour, in the transaction that decides it. */
export async function countReview(em: EntityManager, review: ReviewRow): Promise<void> {
  await em.execute(
    `insert into review_hour values (?, ?, ?, ?, ?, ?, ?, 1, ?)
       on conflict (tenant, profile, hour, line, reported, decided, confirmed)
       do update set reviews = review_hour.reviews + 1, weight = review_hour.weight + excluded.weight`,
    [
      ...placeOf(review),
      ...[review.reportedDefective, review.decidedDefective, review.confirmed],
      review.weight,
    ],
  );
}

const placeOf = ({ tenant, profile, line, createdMs }: Place) => [
  tenant,
  profile,
  Math.floor(createdMs / HOUR_MS),
  line,
];
