import type { ReviewRoute } from '../../context.ts';
import { findReview, reviewReplies } from '../../domain/reviews.ts';

export const getReview: ReviewRoute<'getReview'> =
  ({ database }) =>
  ({ id }, { identity }) =>
    database.read(async (em) => {
      const [review] = await reviewReplies(em, [await findReview(em, identity.tenant, id)]);
      return { review: review! };
    });
