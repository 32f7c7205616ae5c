import { create, toJsonString } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { EntityManager } from '@landfall/common/db/database.ts';
import type { Identity } from '@landfall/common/identity/identity.ts';
import {
  type Report,
  type ReviewDecision,
  ReviewDecisionSchema,
} from '@landfall/proto/landfall/vision/v1/inspection_pb.js';
import type { DecideReviewRequest } from '@landfall/proto/landfall/vision/v1/review_service_pb.js';
import { ReviewDecisionEntity, type ReviewRow } from '../db/inspection-entities.ts';
import { agree, decidedDefects, decidedSections, newFindings } from '../inspection/decided.ts';
import { countReview } from './counts.ts';
import { profileOfReport } from './profiles.ts';
import { findReport, reportReply } from './reports.ts';
import { type ReviewState, reviewChanged } from './review-changes.ts';
import { decisionOf } from './reviews.ts';
import { announceDefects } from './save-report.ts';

/**
 * Takes a person's word on a review, in the caller's transaction. One word decides it; under the two-person rule two
 * that agree do, and where the first two differ the third.
 * @param row locked, open and in the person's hand
 * @throws LandfallError INVALID_ARGUMENT for defects that can't be
 */
export async function decide(
  em: EntityManager,
  identity: Identity,
  row: ReviewRow,
  request: DecideReviewRequest,
): Promise<void> {
  const { tenant, subject } = identity;
  const found = await findReport(em, tenant, row.reportId);
  const report = (await reportReply(em, [found]))[0]!;
  const decision = await decisionOn(em, report, row, request, identity);
  const content = toJsonString(ReviewDecisionSchema, decision);
  const { number } = decision;
  const createdMs = Date.now();
  await em.insert(ReviewDecisionEntity, {
    reviewId: row.id,
    number,
    tenant,
    reviewer: subject,
    content,
    createdMs,
  });
  Object.assign(row, { decisions: number, claimedBy: '', claimUntilMs: 0, revision: row.revision + 1 });
  const state = await whatFollows(em, row, decision);
  if (state === 'second_wanted') row.firstReviewer = subject;
  else if (state === 'third_wanted') row.secondReviewer = subject;
  else {
    Object.assign(row, {
      ...{ decided: true, decidedMs: createdMs, content, confirmed: decision.confirms },
      decidedDefective: decision.defects.length > 0,
    });
    const missed = newFindings(report.defects, decision.defects);
    await announceDefects(em, tenant, report, missed, { needsReview: false, foundInReview: true });
  }
  await em.flush();
  await reviewChanged(em, identity, row, state);
  if (row.decided) await countReview(em, row);
}

async function decisionOn(
  em: EntityManager,
  report: Report,
  { decisions }: ReviewRow,
  { defects, sections, confirm, reason }: DecideReviewRequest,
  { tenant, subject: reviewer }: Identity,
): Promise<ReviewDecision> {
  const { spec } = await profileOfReport(em, tenant, report.profile, report.profileVersion);
  const given = {
    defects: confirm ? report.defects : decidedDefects(defects, report, spec!),
    sections: confirm ? [] : decidedSections(sections, spec!),
  };
  const unchanged = { defects: report.defects, sections: [] as ReviewDecision['sections'] };
  return create(ReviewDecisionSchema, {
    ...given,
    ...{ number: decisions + 1, reviewer, reason, time: timestampFromMs(Date.now()) },
    confirms: confirm || agree(given, unchanged),
  });
}

async function whatFollows(
  em: EntityManager,
  row: ReviewRow,
  decision: ReviewDecision,
): Promise<ReviewState> {
  const decided = decision.confirms ? 'confirmed' : 'corrected';
  if (!row.twoPerson || row.decisions >= 3) return decided;
  if (row.decisions === 1) return 'second_wanted';
  const first = await em.findOneOrFail(ReviewDecisionEntity, { reviewId: row.id, number: 1 });
  return agree(decisionOf(first.content), decision) ? decided : 'third_wanted';
}
