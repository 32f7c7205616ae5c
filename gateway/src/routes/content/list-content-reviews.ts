import { create } from '@bufbuild/protobuf';
import { pageSize } from '@landfall/common/rpc/pages.ts';
import { ContentReviewState } from '@landfall/proto/landfall/gateway/v1/content_pb.js';
import {
  type ListContentReviewsRequest,
  type ListContentReviewsResponse,
  ListContentReviewsResponseSchema,
} from '@landfall/proto/landfall/gateway/v1/content_service_pb.js';
import type { OwnRoute } from '../../context.ts';
import { ContentReviewSchema } from '../../db/content-entities.ts';
import { reviewReply } from './review-reply.ts';

export const listContentReviews: OwnRoute<ListContentReviewsRequest, ListContentReviewsResponse> =
  ({ database }) =>
  (request, { tenant }) =>
    database.read(async (em) => {
      const kept = await em.find(
        ContentReviewSchema,
        { tenant, state: ContentReviewState.PENDING, expiresMs: { $gt: Date.now() } },
        { orderBy: { id: 'asc' }, limit: pageSize(request.pageSize) },
      );
      return create(ListContentReviewsResponseSchema, {
        reviews: kept.map((one) => reviewReply(one, false)),
      });
    });
