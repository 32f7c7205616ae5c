import { ReportScoreRequestSchema } from '@landfall/proto/landfall/balancer/v1/balancer_service_pb.js';
import type { Route } from '../context.ts';
import { takeReport } from '../domain/reports.ts';

export const reportScore: Route<'reportScore'> = (context) => async (request, call) => {
  const report = {
    tenant: call.identity.tenant,
    method: 'ReportScore',
    input: ReportScoreRequestSchema,
  };
  const told = { calls: 0, errors: 0, scores: 1, scoreSum: request.score };
  return { canaryRunning: await takeReport(context, report, request, told) };
};
