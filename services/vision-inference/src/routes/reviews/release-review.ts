import type { ReviewRoute } from '../../context.ts';
import { reviewChanged } from '../../domain/review-changes.ts';
import { isHeld, lockReview, reviewReplies } from '../../domain/reviews.ts';

export const releaseReview: ReviewRoute<'releaseReview'> =
  ({ database }) =>
  ({ id }, { identity }) =>
    database.transaction(async (em) => {
      const row = await lockReview(em, identity.tenant, id);
      if (!row.decided && row.claimedBy === identity.subject && isHeld(row, Date.now())) {
        Object.assign(row, { claimedBy: '', claimUntilMs: 0, revision: row.revision + 1 });
        await em.flush();
        await reviewChanged(em, identity, row, 'released');
      }
      const [review] = await reviewReplies(em, [row]);
      return { review: review! };
    });
