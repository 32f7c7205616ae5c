import type { Implementation } from '@landfall/common/rpc/implementation.ts';
import type { ProfileService } from '@landfall/proto/landfall/vision/v1/profile_service_pb.js';
import type { VisionContext } from '../../context.ts';
import { calibrateProfile } from './calibrate-profile.ts';
import { deleteProfile } from './delete-profile.ts';
import { getProfile } from './get-profile.ts';
import { listChanges } from './list-changes.ts';
import { listProfiles } from './list-profiles.ts';
import { putProfile } from './put-profile.ts';

/** All methods of ProfileService. */
export const profileRoutes = (context: VisionContext): Implementation<typeof ProfileService> => ({
  putProfile: putProfile(context),
  getProfile: getProfile(context),
  listProfiles: listProfiles(context),
  deleteProfile: deleteProfile(context),
  calibrateProfile: calibrateProfile(context),
  listChanges: listChanges(context),
});
