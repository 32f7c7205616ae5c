import type { EntityManager } from '@landfall/common/db/database.ts';
import type { Report, ReviewDecision } from '@landfall/proto/landfall/vision/v1/inspection_pb.js';
import type { ProfileSpec } from '@landfall/proto/landfall/vision/v1/profile_pb.js';
import { ReportEntity, ReviewEntity } from '../db/inspection-entities.ts';
import { profileOfReport } from '../domain/profiles.ts';
import { reportReply } from '../domain/reports.ts';
import { decisionOf } from '../domain/reviews.ts';

/** Which decided reports are wanted. */
export interface Wanted {
  tenant: string;
  profile: string;
  /** Decided at this time or later. */
  fromMs: number;
  correctedOnly: boolean;
  limit: number;
}

/** A report, what people decided of it, and the profile that it was made by. */
export interface Decided {
  report: Report;
  decision: ReviewDecision;
  spec: ProfileSpec;
}

const BATCH = 500;

/** Decided reports, the newest decision of an image alone, newest first. */
export async function* decidedReports(
  read: <T>(work: (em: EntityManager) => Promise<T>) => Promise<T>,
  { tenant, profile, fromMs, correctedOnly, limit }: Wanted,
): AsyncGenerator<Decided> {
  const specs = new Map<number, ProfileSpec>();
  const seen = new Set<string>();
  let before: string | undefined;
  for (let left = limit; left > 0; ) {
    const part = await read(async (em) => {
      const where = {
        ...{ tenant, profile, decided: true, decidedMs: { $gte: fromMs } },
        ...(correctedOnly ? { confirmed: false } : {}),
        ...(before ? { id: { $lt: before } } : {}),
      };
      const reviews = await em.find(ReviewEntity, where, { orderBy: { id: 'desc' }, limit: BATCH });
      const rows = await em.find(ReportEntity, { id: { $in: reviews.map(({ reportId }) => reportId) } });
      const reports = new Map((await reportReply(em, rows)).map((report) => [report.id, report]));
      for (const { profileVersion: version } of rows) {
        if (!specs.has(version))
          specs.set(version, (await profileOfReport(em, tenant, profile, version)).spec!);
      }
      return reviews.map(({ id, reportId, content }) => ({
        ...{ id, report: reports.get(reportId)!, decision: decisionOf(content) },
      }));
    });
    for (const { report, decision } of part) {
      if (left === 0) return;
      if (report.imageKept && seen.has(report.imageDigest)) continue;
      seen.add(report.imageDigest);
      left--;
      yield { report, decision, spec: specs.get(report.profileVersion)! };
    }
    before = part.at(-1)?.id;
    if (part.length < BATCH) return;
  }
}
