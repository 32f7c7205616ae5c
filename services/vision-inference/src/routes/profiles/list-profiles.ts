import { afterKey, page, pageSize } from '@landfall/common/rpc/pages.ts';
import type { Profile } from '@landfall/proto/landfall/vision/v1/profile_pb.js';
import type { ProfileRoute } from '../../context.ts';
import { ProfileEntity } from '../../db/profile-entities.ts';
import { builtInProfiles } from '../../domain/built-in/profiles.ts';
import { findProfile } from '../../domain/profiles.ts';

const NAME = /^[a-z0-9]+([._-][a-z0-9]+)*$/;

export const listProfiles: ProfileRoute<'listProfiles'> =
  ({ database }) =>
  ({ pageSize: most, pageToken }, { identity: { tenant } }) =>
    database.read(async (em) => {
      const size = pageSize(most);
      const after = afterKey(pageToken, NAME) ?? '';
      const own = await em.find(
        ProfileEntity,
        { tenant, deleted: false, name: { $gt: after } },
        { orderBy: { name: 'asc' }, limit: size + 1 },
      );
      const builtIn = Object.keys(builtInProfiles).filter((name) => name > after);
      const names = [...new Set([...own.map(({ name }) => name), ...builtIn])].sort(byCodePoint);
      const { rows, nextPageToken } = page(names.slice(0, size + 1), size, (name) => name);
      const profiles: Profile[] = [];
      for (const name of rows) profiles.push(await findProfile(em, tenant, name));
      return { profiles, nextPageToken };
    });

const byCodePoint = (a: string, b: string) => (a < b ? -1 : 1);
