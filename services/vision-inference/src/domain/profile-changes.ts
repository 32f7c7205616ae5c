import { create } from '@bufbuild/protobuf';
import type { EntityManager } from '@landfall/common/db/database.ts';
import { announce } from '@landfall/common/events/outbox.ts';
import type { Identity } from '@landfall/common/identity/identity.ts';
import { ProfileChangedSchema } from '@landfall/proto/landfall/event/v1/events_pb.js';
import { record } from './audit.ts';

export interface ProfileChange {
  name: string;
  version: number;
  change: 'put' | 'deleted' | 'calibrated';
}

/** Records and announces a change of a profile, in the transaction that makes it. */
export async function profileChanged(
  em: EntityManager,
  identity: Identity,
  { name, version, change }: ProfileChange,
): Promise<void> {
  const { tenant, subject: author } = identity;
  const detail = `version ${version}`;
  await record(em, identity, { action: `profile.${change}`, target: `profiles/${name}`, detail });
  await announce(em, 'vision-inference', {
    subject: 'landfall.vision.profile.changed.v1',
    schema: ProfileChangedSchema,
    payload: create(ProfileChangedSchema, { tenant, name, version, change, author }),
  });
}
