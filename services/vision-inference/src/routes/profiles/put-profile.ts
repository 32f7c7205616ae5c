import { create, toJsonString } from '@bufbuild/protobuf';
import { once } from '@landfall/common/db/idempotency.ts';
import { aborted } from '@landfall/common/errors/errors.ts';
import { ProfileSpecSchema } from '@landfall/proto/landfall/vision/v1/profile_pb.js';
import {
  PutProfileRequestSchema,
  PutProfileResponseSchema,
} from '@landfall/proto/landfall/vision/v1/profile_service_pb.js';
import { LockMode } from '@mikro-orm/core';
import type { ProfileRoute } from '../../context.ts';
import { ProfileEntity, ProfileVersionEntity } from '../../db/profile-entities.ts';
import { checkSpec } from '../../domain/check-profile.ts';
import { profileChanged } from '../../domain/profile-changes.ts';
import { findProfile } from '../../domain/profiles.ts';

export const putProfile: ProfileRoute<'putProfile'> =
  ({ database }) =>
  async (request, { identity }) => {
    const { tenant, subject } = identity;
    const { name, spec, expectedVersion, requestId } = request;
    checkSpec(spec!);
    const call = {
      ...{ tenant, requestId, method: 'landfall.vision.v1.ProfileService/PutProfile' },
      ...{ input: PutProfileRequestSchema, output: PutProfileResponseSchema },
    };
    return database.transaction((em) =>
      once(em, call, request, async () => {
        const key = { tenant, name };
        await em.upsert(
          ProfileEntity,
          { ...key, version: 0, deleted: false },
          { onConflictAction: 'ignore' },
        );
        const head = await em.findOneOrFail(ProfileEntity, key, {
          ...{ lockMode: LockMode.PESSIMISTIC_WRITE, refresh: true },
        });
        if (expectedVersion !== undefined && expectedVersion !== head.version) {
          throw aborted(`the newest version of '${name}' is ${head.version}, not ${expectedVersion}`, {
            reason: 'VERSION_CHANGED',
          });
        }
        Object.assign(head, { version: head.version + 1, deleted: false });
        await em.flush();
        const content = toJsonString(ProfileSpecSchema, spec!);
        const { version } = head;
        await em.insert(ProfileVersionEntity, {
          ...{ tenant, name, version, content, author: subject, createdMs: Date.now() },
        });
        await profileChanged(em, identity, { name, version, change: 'put' });
        return create(PutProfileResponseSchema, { profile: await findProfile(em, tenant, name, version) });
      }),
    );
  };
