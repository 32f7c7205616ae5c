import { timestampMs } from '@bufbuild/protobuf/wkt';
import { afterKey, page, pageSize, UUID } from '@landfall/common/rpc/pages.ts';
import type { AccessRoute } from '../context.ts';
import { AuditSchema } from '../db/access-entities.ts';
import { auditReply } from '../domain/access-replies.ts';
import { firstId } from '../domain/invocation-search.ts';

/** Ids are UUIDs of version 7: a time is a bound of them. */
export const searchPromptAudit: AccessRoute<'searchPromptAudit'> =
  ({ database }) =>
  async ({ pageSize: most, pageToken, subject, target, action, startTime, endTime }, { identity }) => {
    const size = pageSize(most);
    const before = afterKey(pageToken, UUID);
    const ids = [
      ...(startTime ? [{ id: { $gte: firstId(timestampMs(startTime)) } }] : []),
      ...(endTime ? [{ id: { $lt: firstId(timestampMs(endTime)) } }] : []),
      ...(before ? [{ id: { $lt: before } }] : []),
    ];
    const where = {
      tenant: identity.tenant,
      ...(subject ? { subject } : {}),
      ...(target ? { target } : {}),
      ...(action ? { action } : {}),
      ...(ids.length > 0 ? { $and: ids } : {}),
    };
    return database.read(async (em) => {
      const found = await em.find(AuditSchema, where, { orderBy: { id: 'desc' }, limit: size + 1 });
      const { rows, nextPageToken } = page(found, size, (row) => row.id);
      return { records: rows.map(auditReply), nextPageToken };
    });
  };
