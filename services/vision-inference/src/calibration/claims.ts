import type { EntityManager } from '@landfall/common/db/database.ts';
import type { Defect, Report } from '@landfall/proto/landfall/vision/v1/inspection_pb.js';
import { ReportEntity, ReviewEntity } from '../db/inspection-entities.ts';
import { profileOfReport } from '../domain/profiles.ts';
import { reportReply } from '../domain/reports.ts';
import { decisionOf } from '../domain/reviews.ts';
import { matches } from '../inspection/decided.ts';
import { type Asked, looksOf } from '../inspection/question.ts';
import type { Claim } from './fit.ts';

/** The newest decided reviews that a calibration is fitted to. */
const MOST = 10_000;
const BATCH = 500;

/**
 * What a report claims: each defect that the model named, whether it was reported or left out, with its confidence; and of
 * a piece without any, the probability that it has one.
 * @param decided the defects as they are
 * @param rawProbability of a defect, by the model's probabilities
 */
export function claimsOf(
  { defects, belowThreshold }: Pick<Report, 'defects' | 'belowThreshold'>,
  decided: readonly Defect[],
  rawProbability: number,
): Pick<Claim, 'raw' | 'right'>[] {
  const named = [...defects, ...belowThreshold];
  if (named.length === 0) return [{ raw: rawProbability, right: decided.length > 0 }];
  return named.map((one) => ({
    raw: one.rawConfidence,
    right: decided.some((defect) => matches(defect, one)),
  }));
}

/** What reports of a model claimed that was asked so, and reviews decided, the newest first. */
export async function decidedClaims(
  em: EntityManager,
  tenant: string,
  profile: string,
  model: string,
  asked: Asked,
): Promise<{ claims: Claim[]; reviews: number }> {
  const reviews = await em.find(
    ReviewEntity,
    { tenant, profile, decided: true, model },
    { orderBy: { id: 'desc' }, limit: MOST },
  );
  const claims: Claim[] = [];
  const looks = new Map<number, number>();
  const wasAskedSo = async ({ promptDigest, profileVersion }: Report) => {
    if (promptDigest !== asked.promptDigest) return false;
    if (!looks.has(profileVersion)) {
      const { spec } = await profileOfReport(em, tenant, profile, profileVersion);
      looks.set(profileVersion, looksOf(spec!));
    }
    return looks.get(profileVersion) === asked.looks;
  };
  let decided = 0;
  for (let i = 0; i < reviews.length; i += BATCH) {
    const part = reviews.slice(i, i + BATCH);
    const rows = await em.find(ReportEntity, { id: { $in: part.map(({ reportId }) => reportId) } });
    const reports = new Map((await reportReply(em, rows)).map((report) => [report.id, report]));
    for (const { id: review, reportId, content, rawProbability, weight } of part) {
      const report = reports.get(reportId)!;
      if (!(await wasAskedSo(report))) continue;
      decided++;
      const found = claimsOf(report, decisionOf(content).defects, rawProbability);
      claims.push(...found.map((claim) => ({ ...claim, weight, review })));
    }
  }
  return { claims, reviews: decided };
}
