import { create } from '@bufbuild/protobuf';
import { once } from '@landfall/common/db/idempotency.ts';
import { failedPrecondition } from '@landfall/common/errors/errors.ts';
import {
  DecideReviewRequestSchema,
  DecideReviewResponseSchema,
} from '@landfall/proto/landfall/vision/v1/review_service_pb.js';
import type { ReviewRoute } from '../../context.ts';
import { decide } from '../../domain/decide.ts';
import { isHeld, lockReview, requireOpen, reviewReplies } from '../../domain/reviews.ts';

export const decideReview: ReviewRoute<'decideReview'> =
  ({ database }) =>
  async (request, { identity }) => {
    const { tenant, subject } = identity;
    const call = {
      ...{ tenant, requestId: request.requestId, method: 'landfall.vision.v1.ReviewService/DecideReview' },
      ...{ input: DecideReviewRequestSchema, output: DecideReviewResponseSchema },
    };
    return database.transaction((em) =>
      once(em, call, request, async () => {
        const row = await lockReview(em, tenant, request.id);
        requireOpen(row);
        if (row.claimedBy !== subject || !isHeld(row, Date.now())) {
          throw failedPrecondition('claim the review first: you do not have it in hand, or not any more', {
            reason: 'NOT_CLAIMED',
          });
        }
        await decide(em, identity, row, request);
        const [review] = await reviewReplies(em, [row]);
        return create(DecideReviewResponseSchema, { review: review! });
      }),
    );
  };
