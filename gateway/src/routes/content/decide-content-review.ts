import { create } from '@bufbuild/protobuf';
import { failedPrecondition, permissionDenied } from '@landfall/common/errors/errors.ts';
import { ContentReviewState } from '@landfall/proto/landfall/gateway/v1/content_pb.js';
import {
  type DecideContentReviewRequest,
  type DecideContentReviewResponse,
  DecideContentReviewResponseSchema,
} from '@landfall/proto/landfall/gateway/v1/content_service_pb.js';
import { REVIEW_MS } from '../../content/reviews.ts';
import type { OwnRoute } from '../../context.ts';
import { ContentReviewSchema } from '../../db/content-entities.ts';
import { audit } from '../../domain/audit.ts';
import { reviewReply } from './review-reply.ts';

const METHOD = 'landfall.gateway.v1.ContentService/DecideContentReview';

/** Safe to repeat by its nature: a decision stays what it is. */
export const decideContentReview: OwnRoute<DecideContentReviewRequest, DecideContentReviewResponse> =
  ({ database, reviews }) =>
  async ({ id, approve, reason }, caller) => {
    const { tenant, subject } = caller;
    const state = approve ? ContentReviewState.APPROVED : ContentReviewState.REJECTED;
    if ((await reviews.get(tenant, id)).subject === subject) {
      throw permissionDenied('a call of your own is for another reviewer to decide');
    }
    await database.transaction(async (em) => {
      const mine = { tenant, id, state: ContentReviewState.PENDING, claimedBy: subject };
      // What was asked has served its purpose.
      const decision = {
        ...{ state, decidedBy: subject, reason, texts: '[]', answerTexts: '[]' },
        ...{ expiresMs: Date.now() + REVIEW_MS, ...(approve ? {} : { answer: '' }) },
      };
      const decided = await em.nativeUpdate(ContentReviewSchema, mine, decision);
      if (decided > 0) await audit(em, caller, METHOD, `content-reviews/${id}`);
    });
    const review = await reviews.get(tenant, id);
    if (review.state === ContentReviewState.PENDING)
      throw failedPrecondition('claim the review before you decide it');
    if (review.state !== state || review.decidedBy !== subject)
      throw failedPrecondition('this review was decided otherwise');
    return create(DecideContentReviewResponseSchema, { review: reviewReply(review, false) });
  };
