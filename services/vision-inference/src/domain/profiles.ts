import { create, fromJsonString } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { EntityManager } from '@landfall/common/db/database.ts';
import {
  type Calibration,
  CalibrationSchema,
  type Profile,
  ProfileSchema,
  ProfileSpecSchema,
} from '@landfall/proto/landfall/vision/v1/profile_pb.js';
import {
  CalibrationEntity,
  ProfileEntity,
  ProfileVersionEntity,
  type ProfileVersionRow,
} from '../db/profile-entities.ts';
import { profileNotFound, profileVersionNotFound } from '../errors.ts';
import { builtInProfiles } from './built-in/profiles.ts';

/**
 * A tenant's profile, or the built-in one of that name.
 * @param version 0 is the newest
 * @throws LandfallError NOT_FOUND
 */
export async function findProfile(
  em: EntityManager,
  tenant: string,
  name: string,
  version = 0,
): Promise<Profile> {
  const calibrations = await calibrationsOf(em, tenant, name);
  const head = await em.findOne(ProfileEntity, { tenant, name });
  // Reports name versions of profiles that are out of use since.
  if (head && (version > 0 || !head.deleted)) {
    const key = { tenant, name, version: version || head.version };
    const row = await em.findOne(ProfileVersionEntity, key);
    if (!row) throw profileVersionNotFound(name, version);
    return profileReply(row, calibrations);
  }
  const spec = builtInProfiles[name];
  if (!spec) throw profileNotFound(name);
  if (version > 0) throw profileVersionNotFound(name, version);
  return create(ProfileSchema, { name, spec, calibrations });
}

/** A profile as a report that is there already was made with it: version 0 is the built-in one. */
export async function profileOfReport(
  em: EntityManager,
  tenant: string,
  name: string,
  version: number,
): Promise<Profile> {
  if (version > 0) return findProfile(em, tenant, name, version);
  const spec = builtInProfiles[name];
  if (!spec) throw profileNotFound(name);
  return create(ProfileSchema, { name, spec, calibrations: await calibrationsOf(em, tenant, name) });
}

export function profileReply(row: ProfileVersionRow, calibrations: Calibration[] = []): Profile {
  const { name, version, content, author, createdMs } = row;
  return create(ProfileSchema, {
    ...{ name, version, author, calibrations },
    spec: fromJsonString(ProfileSpecSchema, content),
    createTime: timestampFromMs(createdMs),
  });
}

async function calibrationsOf(em: EntityManager, tenant: string, profile: string): Promise<Calibration[]> {
  const rows = await em.find(CalibrationEntity, { tenant, profile }, { orderBy: { model: 'asc' } });
  return rows.map(({ content }) => fromJsonString(CalibrationSchema, content));
}
