import { create } from '@bufbuild/protobuf';
import { once } from '@landfall/common/db/idempotency.ts';
import {
  DeleteProfileRequestSchema,
  DeleteProfileResponseSchema,
} from '@landfall/proto/landfall/vision/v1/profile_service_pb.js';
import { LockMode } from '@mikro-orm/core';
import type { ProfileRoute } from '../../context.ts';
import { ProfileEntity } from '../../db/profile-entities.ts';
import { profileChanged } from '../../domain/profile-changes.ts';
import { profileNotFound } from '../../errors.ts';

export const deleteProfile: ProfileRoute<'deleteProfile'> =
  ({ database }) =>
  async (request, { identity }) => {
    const { tenant } = identity;
    const { name, requestId } = request;
    const call = {
      ...{ tenant, requestId, method: 'landfall.vision.v1.ProfileService/DeleteProfile' },
      ...{ input: DeleteProfileRequestSchema, output: DeleteProfileResponseSchema },
    };
    return database.transaction((em) =>
      once(em, call, request, async () => {
        const head = await em.findOne(
          ProfileEntity,
          { tenant, name },
          { lockMode: LockMode.PESSIMISTIC_WRITE },
        );
        if (!head || head.deleted) throw profileNotFound(name);
        head.deleted = true;
        await em.flush();
        await profileChanged(em, identity, { name, version: head.version, change: 'deleted' });
        return create(DeleteProfileResponseSchema, {});
      }),
    );
  };
