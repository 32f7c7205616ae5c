import { ReportOutcomesRequestSchema } from '@landfall/proto/landfall/balancer/v1/balancer_service_pb.js';
import type { Route } from '../context.ts';
import { takeReport } from '../domain/reports.ts';

export const reportOutcomes: Route<'reportOutcomes'> = (context) => async (request, call) => {
  const report = {
    tenant: call.identity.tenant,
    method: 'ReportOutcomes',
    input: ReportOutcomesRequestSchema,
  };
  const { calls, errors } = request;
  const told = { calls: Number(calls), errors: Number(errors), scores: 0, scoreSum: 0 };
  return { canaryRunning: await takeReport(context, report, request, told) };
};
