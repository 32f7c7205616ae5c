import { create } from '@bufbuild/protobuf';
import { roleReaches } from '@landfall/common/identity/identity.ts';
import { ContentReviewState } from '@landfall/proto/landfall/gateway/v1/content_pb.js';
import {
  type GetContentReviewRequest,
  type GetContentReviewResponse,
  GetContentReviewResponseSchema,
} from '@landfall/proto/landfall/gateway/v1/content_service_pb.js';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import type { OwnRoute } from '../../context.ts';
import { reviewReply } from './review-reply.ts';

export const getContentReview: OwnRoute<GetContentReviewRequest, GetContentReviewResponse> =
  ({ reviews }) =>
  async ({ id, waitSeconds }, { tenant, subject, role }) => {
    const own = roleReaches(role, Role.EDITOR) ? undefined : subject;
    const review = await reviews.decided(tenant, id, own, waitSeconds * 1000);
    // The answer is its caller's alone.
    const delivered = review.state === ContentReviewState.APPROVED && review.subject === subject;
    return create(GetContentReviewResponseSchema, {
      review: reviewReply(review, false),
      answerTexts: delivered ? reviews.answerTexts(review) : [],
    });
  };
