import type { Implementation } from '@landfall/common/rpc/implementation.ts';
import type { ReviewService } from '@landfall/proto/landfall/vision/v1/review_service_pb.js';
import type { VisionContext } from '../../context.ts';
import { claimReview } from './claim-review.ts';
import { decideReview } from './decide-review.ts';
import { exportCorrections } from './export-corrections.ts';
import { getReview } from './get-review.ts';
import { listDecisions } from './list-decisions.ts';
import { listReviews } from './list-reviews.ts';
import { releaseReview } from './release-review.ts';

/** All methods of ReviewService. */
export const reviewRoutes = (context: VisionContext): Implementation<typeof ReviewService> => ({
  listReviews: listReviews(context),
  getReview: getReview(context),
  claimReview: claimReview(context),
  releaseReview: releaseReview(context),
  decideReview: decideReview(context),
  listDecisions: listDecisions(context),
  exportCorrections: exportCorrections(context),
});
