import type { InspectionRoute } from '../../context.ts';
import { findReport, reportReply } from '../../domain/reports.ts';

export const getReport: InspectionRoute<'getReport'> =
  ({ database }) =>
  ({ id }, { identity }) =>
    database.read(async (em) => {
      const [report] = await reportReply(em, [await findReport(em, identity.tenant, id)]);
      return { report: report! };
    });
