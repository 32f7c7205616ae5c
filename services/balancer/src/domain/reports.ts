import { create, type DescMessage, type MessageShape } from '@bufbuild/protobuf';
import { onceIn } from '@landfall/common/db/idempotency.ts';
import { ReportOutcomesResponseSchema } from '@landfall/proto/landfall/balancer/v1/balancer_service_pb.js';
import type { BalancerContext } from '../context.ts';
import type { Told } from '../control/canary.ts';
import { tell } from './canaries.ts';
import { findDeployment } from './deployments.ts';

/** Both kinds of reports are answered alike. */
const output = ReportOutcomesResponseSchema;

/** Something that a caller tells of a deployment's model, once for each request id. */
export interface Report<I extends DescMessage> {
  tenant: string;
  method: string;
  input: I;
}

/** Takes a report. @returns whether a canary runs still */
export async function takeReport<I extends DescMessage>(
  { database, fleet, logger }: BalancerContext,
  report: Report<I>,
  request: MessageShape<I> & { requestId: string; deployment: string; model: string },
  told: Told,
): Promise<boolean> {
  const { tenant } = report;
  const { requestId, deployment: name, model } = request;
  // Most reports come while nothing is tried: they end here, without a transaction.
  if (!fleet.deployments.find(tenant, name).canaryModel) return false;
  await onceIn(database, { ...report, requestId, output }, request, async (em) => {
    const { canaryModel } = await tell(em, tenant, name, model, told);
    return create(output, { canaryRunning: canaryModel !== '' });
  });
  const row = await database.read((em) => findDeployment(em, tenant, name));
  const before = fleet.deployments.peek(tenant, name);
  fleet.apply(row);
  if (before?.canaryModel && !row.canaryModel) {
    logger.warn({ tenant, name, outcome: row.canaryOutcome }, 'a canary is given up');
  }
  return row.canaryModel !== '';
}
