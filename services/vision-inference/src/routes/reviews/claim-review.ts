import { create } from '@bufbuild/protobuf';
import { once } from '@landfall/common/db/idempotency.ts';
import { aborted, failedPrecondition } from '@landfall/common/errors/errors.ts';
import {
  ClaimReviewRequestSchema,
  ClaimReviewResponseSchema,
} from '@landfall/proto/landfall/vision/v1/review_service_pb.js';
import type { ReviewRoute } from '../../context.ts';
import { reviewChanged } from '../../domain/review-changes.ts';
import { isHeld, lockReview, requireOpen, reviewReplies } from '../../domain/reviews.ts';

export const claimReview: ReviewRoute<'claimReview'> =
  ({ database }) =>
  async (request, { identity }) => {
    const { tenant, subject } = identity;
    const { id, requestId } = request;
    const call = {
      ...{ tenant, requestId, method: 'landfall.vision.v1.ReviewService/ClaimReview' },
      ...{ input: ClaimReviewRequestSchema, output: ClaimReviewResponseSchema },
    };
    return database.transaction((em) =>
      once(em, call, request, async () => {
        const row = await lockReview(em, tenant, id);
        requireOpen(row);
        if ([row.firstReviewer, row.secondReviewer].includes(subject)) {
          throw failedPrecondition('another person must look: you have decided this review before', {
            reason: 'ANOTHER_PERSON_NEEDED',
          });
        }
        const nowMs = Date.now();
        const held = isHeld(row, nowMs);
        if (held && row.claimedBy !== subject) {
          const until = new Date(row.claimUntilMs).toISOString();
          throw aborted(`${row.claimedBy} has it in hand until ${until}`, { reason: 'REVIEW_CLAIMED' });
        }
        Object.assign(row, {
          claimedBy: subject,
          claimUntilMs: nowMs + row.claimMs,
          revision: row.revision + 1,
        });
        await em.flush();
        if (!held) await reviewChanged(em, identity, row, 'claimed');
        const [review] = await reviewReplies(em, [row]);
        return create(ClaimReviewResponseSchema, { review: review! });
      }),
    );
  };
