import type { Implementation } from '@landfall/common/rpc/implementation.ts';
import type { InspectionService } from '@landfall/proto/landfall/vision/v1/inspection_service_pb.js';
import type { VisionContext } from '../../context.ts';
import { cancelBatch } from './cancel-batch.ts';
import { explainReport } from './explain-report.ts';
import { getBatch } from './get-batch.ts';
import { getReport } from './get-report.ts';
import { getReportImage } from './get-report-image.ts';
import { getStatistics } from './get-statistics.ts';
import { listReports } from './list-reports.ts';
import { startBatch } from './start-batch.ts';
import { watchBatch } from './watch-batch.ts';

/** All methods of InspectionService. */
export const inspectionRoutes = (context: VisionContext): Implementation<typeof InspectionService> => ({
  getReport: getReport(context),
  listReports: listReports(context),
  getReportImage: getReportImage(context),
  explainReport: explainReport(context),
  getStatistics: getStatistics(context),
  startBatch: startBatch(context),
  getBatch: getBatch(context),
  watchBatch: watchBatch(context),
  cancelBatch: cancelBatch(context),
});
