import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { afterKey, page, pageSize, UUID } from '@landfall/common/rpc/pages.ts';
import type { ProfileRoute } from '../../context.ts';
import { AuditEntity } from '../../db/profile-entities.ts';

export const listChanges: ProfileRoute<'listChanges'> =
  ({ database }) =>
  ({ pageSize: most, pageToken, target }, { identity: { tenant } }) =>
    database.read(async (em) => {
      const size = pageSize(most);
      const before = afterKey(pageToken, UUID);
      const where = { tenant, ...(target ? { target } : {}), ...(before ? { id: { $lt: before } } : {}) };
      const found = await em.find(AuditEntity, where, { orderBy: { id: 'desc' }, limit: size + 1 });
      const { rows, nextPageToken } = page(found, size, ({ id }) => id);
      const changes = rows.map(({ subject, action, target: of, detail, createdMs }) => ({
        ...{ subject, action, target: of, detail, time: timestampFromMs(createdMs) },
      }));
      return { changes, nextPageToken };
    });
