import type { EntityManager } from '@landfall/common/db/database.ts';
import { ReportEntity, ReviewEntity } from '../db/inspection-entities.ts';
import { reportReply } from '../domain/reports.ts';
import { decisionOf } from '../domain/reviews.ts';
import { matches } from '../inspection/decided.ts';
import type { Claim } from './fit.ts';

/** The newest decided reviews that a calibration is fitted to. */
const MOST = 10_000;
const BATCH = 500;

/**
 * What reports of a model claimed and reviews decided, the newest first: each defect that the model named, whether it was
 * reported or left out, with its confidence; and of a piece without any, the probability that it has one.
 */
export async function decidedClaims(
  em: EntityManager,
  tenant: string,
  profile: string,
  model: string,
): Promise<{ claims: Claim[]; reviews: number }> {
  const reviews = await em.find(
    ReviewEntity,
    { tenant, profile, decided: true, model },
    { orderBy: { id: 'desc' }, limit: MOST },
  );
  const claims: Claim[] = [];
  for (let i = 0; i < reviews.length; i += BATCH) {
    const part = reviews.slice(i, i + BATCH);
    const rows = await em.find(ReportEntity, { id: { $in: part.map(({ reportId }) => reportId) } });
    const reports = new Map((await reportReply(em, rows)).map((report) => [report.id, report]));
    for (const { reportId, content, rawProbability, weight } of part) {
      const report = reports.get(reportId)!;
      const { defects } = decisionOf(content);
      const named = [...report.defects, ...report.belowThreshold];
      for (const one of named) {
        const right = defects.some((defect) => matches(defect, one));
        claims.push({ raw: one.rawConfidence, right, weight });
      }
      if (named.length === 0) claims.push({ raw: rawProbability, right: defects.length > 0, weight });
    }
  }
  return { claims, reviews: reviews.length };
}
