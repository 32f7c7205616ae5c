import { afterKey, page, pageSize, UUID } from '@landfall/common/rpc/pages.ts';
import type { ReviewRoute } from '../../context.ts';
import { ReviewEntity } from '../../db/inspection-entities.ts';
import { reviewReplies } from '../../domain/reviews.ts';

export const listReviews: ReviewRoute<'listReviews'> =
  ({ database }) =>
  (request, { identity: { tenant, subject } }) =>
    database.read(async (em) => {
      const { profile, cause, claimable, includeDecided } = request;
      const size = pageSize(request.pageSize);
      const after = afterKey(request.pageToken, UUID);
      const where = {
        tenant,
        ...(profile ? { profile } : {}),
        ...(cause ? { cause } : {}),
        ...(includeDecided && !claimable ? {} : { decided: false }),
        ...(after ? { id: { $gt: after } } : {}),
        ...(claimable
          ? {
              $or: [{ claimedBy: subject }, { claimUntilMs: { $lte: Date.now() } }],
              ...{ firstReviewer: { $ne: subject }, secondReviewer: { $ne: subject } },
            }
          : {}),
      };
      const found = await em.find(ReviewEntity, where, { orderBy: { id: 'asc' }, limit: size + 1 });
      const { rows, nextPageToken } = page(found, size, ({ id }) => id);
      return { reviews: await reviewReplies(em, rows), nextPageToken };
    });
