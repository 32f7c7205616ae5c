import { afterKey, page, pageSize, UUID } from '@landfall/common/rpc/pages.ts';
import type { InspectionRoute } from '../../context.ts';
import { ReportEntity } from '../../db/inspection-entities.ts';
import { reportReply } from '../../domain/reports.ts';

export const listReports: InspectionRoute<'listReports'> =
  ({ database }) =>
  ({ pageSize: most, pageToken, profile, defective, batchId }, { identity: { tenant } }) =>
    database.read(async (em) => {
      const size = pageSize(most);
      const before = afterKey(pageToken, UUID);
      const where = {
        tenant,
        ...(profile ? { profile } : {}),
        ...(defective === undefined ? {} : { defective }),
        ...(batchId ? { batchId } : {}),
        ...(before ? { id: { $lt: before } } : {}),
      };
      const found = await em.find(ReportEntity, where, { orderBy: { id: 'desc' }, limit: size + 1 });
      const { rows, nextPageToken } = page(found, size, ({ id }) => id);
      return { reports: await reportReply(em, rows), nextPageToken };
    });
