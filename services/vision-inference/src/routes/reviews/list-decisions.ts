import type { ReviewRoute } from '../../context.ts';
import { ReviewDecisionEntity } from '../../db/inspection-entities.ts';
import { decisionOf, findReview } from '../../domain/reviews.ts';

export const listDecisions: ReviewRoute<'listDecisions'> =
  ({ database }) =>
  ({ id: reviewId }, { identity }) =>
    database.read(async (em) => {
      const { decided } = await findReview(em, identity.tenant, reviewId);
      // A second pair of eyes is one that has not read what the first said.
      if (!decided) return { decisions: [] };
      const rows = await em.find(ReviewDecisionEntity, { reviewId }, { orderBy: { number: 'asc' } });
      return { decisions: rows.map(({ content }) => decisionOf(content)) };
    });
