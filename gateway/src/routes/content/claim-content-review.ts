import { create } from '@bufbuild/protobuf';
import { failedPrecondition } from '@landfall/common/errors/errors.ts';
import { ContentReviewState } from '@landfall/proto/landfall/gateway/v1/content_pb.js';
import {
  type ClaimContentReviewRequest,
  type ClaimContentReviewResponse,
  ClaimContentReviewResponseSchema,
} from '@landfall/proto/landfall/gateway/v1/content_service_pb.js';
import type { OwnRoute } from '../../context.ts';
import { ContentReviewSchema } from '../../db/content-entities.ts';
import { audit } from '../../domain/audit.ts';
import { reviewReply } from './review-reply.ts';

const METHOD = 'landfall.gateway.v1.ContentService/ClaimContentReview';

/** Safe to repeat by its nature: who has it has it. */
export const claimContentReview: OwnRoute<ClaimContentReviewRequest, ClaimContentReviewResponse> =
  ({ database, reviews }) =>
  async ({ id }, caller) => {
    const { tenant, subject } = caller;
    await reviews.get(tenant, id);
    await database.transaction(async (em) => {
      // One statement: of two who claim at once, one gets it.
      const free = { tenant, id, state: ContentReviewState.PENDING, claimedBy: '' };
      const taken = await em.nativeUpdate(ContentReviewSchema, free, { claimedBy: subject });
      if (taken > 0) await audit(em, caller, METHOD, `content-reviews/${id}`);
    });
    const review = await reviews.get(tenant, id);
    if (review.state !== ContentReviewState.PENDING) throw failedPrecondition('this review is decided');
    if (review.claimedBy !== subject) throw failedPrecondition('another reviewer has this one');
    return create(ClaimContentReviewResponseSchema, { review: reviewReply(review, true) });
  };
