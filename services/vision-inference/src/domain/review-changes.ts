import { create } from '@bufbuild/protobuf';
import type { EntityManager } from '@landfall/common/db/database.ts';
import { announce } from '@landfall/common/events/outbox.ts';
import type { Identity } from '@landfall/common/identity/identity.ts';
import { ReviewChangedSchema } from '@landfall/proto/landfall/event/v1/events_pb.js';
import type { ReviewRow } from '../db/inspection-entities.ts';
import { record } from './audit.ts';

export type ReviewState =
  | 'waiting'
  | 'claimed'
  | 'released'
  | 'second_wanted'
  | 'third_wanted'
  | 'confirmed'
  | 'corrected';

/** Records and announces a change of a review, in the transaction that makes it. @param row as it is now */
export async function reviewChanged(
  em: EntityManager,
  identity: Identity,
  { id: reviewId, tenant, reportId: inspectionId, profile, revision }: ReviewRow,
  state: ReviewState,
): Promise<void> {
  await record(em, identity, { action: `review.${state}`, target: `reviews/${reviewId}`, detail: profile });
  await announce(em, 'vision-inference', {
    subject: 'landfall.vision.review.changed.v1',
    schema: ReviewChangedSchema,
    payload: create(ReviewChangedSchema, {
      ...{ tenant, reviewId, inspectionId, profile, state, author: identity.subject },
      revision: BigInt(revision),
    }),
  });
}
