import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { type ContentReview, ContentReviewSchema } from '@landfall/proto/landfall/gateway/v1/content_pb.js';
import type { KeptContentReview } from '../../db/content-entities.ts';

/** A review as callers see it; its texts are for who decides. */
export function reviewReply(kept: KeptContentReview, withTexts: boolean): ContentReview {
  const { id, state, subject, route, claimedBy, decidedBy, reason, ofAnswer } = kept;
  return create(ContentReviewSchema, {
    ...{ id, state, subject, route, claimedBy, decidedBy, reason, ofAnswer },
    filters: kept.filters.split('\n'),
    policyVersion: BigInt(kept.policyVersion),
    texts: withTexts ? (JSON.parse(kept.texts) as string[]) : [],
    answerTexts: withTexts ? (JSON.parse(kept.answerTexts) as string[]) : [],
    createTime: timestampFromMs(kept.createdMs),
    expireTime: timestampFromMs(kept.expiresMs),
  });
}
