import { create, fromJsonString } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { EntityManager } from '@landfall/common/db/database.ts';
import { failedPrecondition } from '@landfall/common/errors/errors.ts';
import {
  type Report,
  type Review,
  type ReviewDecision,
  ReviewDecisionSchema,
  ReviewSchema,
} from '@landfall/proto/landfall/vision/v1/inspection_pb.js';
import { LockMode } from '@mikro-orm/core';
import { ReportEntity, ReviewEntity, type ReviewRow } from '../db/inspection-entities.ts';
import { reviewNotFound } from '../errors.ts';
import { decidedReport } from '../inspection/decided.ts';
import { reportText } from '../inspection/words.ts';
import { profileOfReport } from './profiles.ts';
import { reportReply } from './reports.ts';

/** A tenant's review. @throws LandfallError NOT_FOUND */
export async function findReview(em: EntityManager, tenant: string, id: string): Promise<ReviewRow> {
  const row = await em.findOne(ReviewEntity, { id, tenant });
  if (!row) throw reviewNotFound(id);
  return row;
}

/** The same, locked: changes of one review come one after the other. */
export async function lockReview(em: EntityManager, tenant: string, id: string): Promise<ReviewRow> {
  const lock = { lockMode: LockMode.PESSIMISTIC_WRITE, refresh: true };
  const row = await em.findOne(ReviewEntity, { id, tenant }, lock);
  if (!row) throw reviewNotFound(id);
  return row;
}

/** @throws LandfallError FAILED_PRECONDITION once decided */
export function requireOpen({ decided, id }: ReviewRow): void {
  if (decided) throw failedPrecondition(`review ${id} is decided already`, { reason: 'REVIEW_DECIDED' });
}

/** Whether somebody's claim holds now. */
export const isHeld = ({ claimedBy, claimUntilMs }: ReviewRow, nowMs: number): boolean =>
  claimedBy !== '' && claimUntilMs > nowMs;

/** Reviews as they stand now, with their reports. */
export async function reviewReplies(em: EntityManager, rows: readonly ReviewRow[]): Promise<Review[]> {
  const reportRows = await em.find(ReportEntity, { id: { $in: rows.map(({ reportId }) => reportId) } });
  const reports = await reportReply(em, reportRows);
  const byId = new Map(reports.map((report) => [report.id, report]));
  const replies: Review[] = [];
  for (const row of rows) replies.push(await reviewReply(em, row, byId.get(row.reportId)!));
  return replies;
}

async function reviewReply(em: EntityManager, row: ReviewRow, report: Report): Promise<Review> {
  const { id, cause, decided, decisions, twoPerson, confirmed, revision } = row;
  const held = !decided && isHeld(row, Date.now());
  const reply = create(ReviewSchema, {
    ...{ id, report, cause, decided, decisions, twoPerson, confirmed, revision: BigInt(revision) },
    claimedBy: held ? row.claimedBy : '',
    ...(held ? { claimExpireTime: timestampFromMs(row.claimUntilMs) } : {}),
  });
  if (!decided) return reply;
  const decision = decisionOf(row.content);
  const reviewers = [row.firstReviewer, row.secondReviewer, decision.reviewer].filter((name) => name !== '');
  return Object.assign(reply, {
    ...{ decidedDefects: decision.defects, reason: decision.reason, decideTime: decision.time },
    reviewers: [...new Set(reviewers)],
    decidedText: await decidedText(em, row, report, decision, [...new Set(reviewers)]),
  });
}

export const decisionOf = (content: string): ReviewDecision => fromJsonString(ReviewDecisionSchema, content);

/** The text form as people decided it. A correction has no conclusion of the catalogue's: who corrects says why. */
async function decidedText(
  em: EntityManager,
  { tenant }: ReviewRow,
  report: Report,
  decision: ReviewDecision,
  signers: readonly string[],
): Promise<string> {
  const { spec } = await profileOfReport(em, tenant, report.profile, report.profileVersion);
  const { language, defectTypes } = spec!;
  return reportText(decidedReport(report, decision, spec!), language, defectTypes.length > 0, signers);
}
