import type { ProfileRoute } from '../../context.ts';
import { findProfile } from '../../domain/profiles.ts';

export const getProfile: ProfileRoute<'getProfile'> =
  ({ database }) =>
  ({ name, version }, { identity }) =>
    database.read(async (em) => ({ profile: await findProfile(em, identity.tenant, name, version) }));
