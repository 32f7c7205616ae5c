import { fromJsonString } from '@bufbuild/protobuf';
import type { EntityManager } from '@landfall/common/db/database.ts';
import { type Report, ReportSchema } from '@landfall/proto/landfall/vision/v1/inspection_pb.js';
import { ReportEntity, type ReportRow, ReviewEntity } from '../db/inspection-entities.ts';
import { reportNotFound } from '../errors.ts';

/** A tenant's report. @throws LandfallError NOT_FOUND */
export async function findReport(em: EntityManager, tenant: string, id: string): Promise<ReportRow> {
  const row = await em.findOne(ReportEntity, { id, tenant });
  if (!row) throw reportNotFound(id);
  return row;
}

/** Reports as they stand now: what has changed since they were made are their image and their review. */
export async function reportReply(
  em: EntityManager,
  rows: readonly Pick<ReportRow, 'id' | 'content' | 'imageDigest' | 'reviewed'>[],
): Promise<Report[]> {
  const reviewed = rows.filter((row) => row.reviewed).map(({ id }) => id);
  const reviews = reviewed.length > 0 ? await em.find(ReviewEntity, { reportId: { $in: reviewed } }) : [];
  const byReport = new Map(reviews.map((review) => [review.reportId, review]));
  return rows.map(({ id, content, imageDigest }) => {
    const review = byReport.get(id);
    return Object.assign(fromJsonString(ReportSchema, content), {
      ...{ imageDigest, imageKept: imageDigest !== '' },
      ...{ needsReview: review?.decided === false, reviewId: review?.id ?? '' },
    });
  });
}
