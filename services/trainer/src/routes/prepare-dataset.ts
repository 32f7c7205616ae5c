import { create } from '@bufbuild/protobuf';
import { Kind } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import { RowIssueSchema } from '@landfall/proto/landfall/trainer/v1/job_pb.js';
import {
  type DatasetStatistics,
  DatasetStatisticsSchema,
} from '@landfall/proto/landfall/trainer/v1/preparation_pb.js';
import type { Route } from '../context.ts';
import { prepare } from '../domain/prepare.ts';
import type { Statistics } from '../engine/preparation/statistics.ts';

export const prepareDataset: Route<'prepareDataset'> = (service) => async (request, context) => {
  const raw = await service.registry.ready(request.dataset, Kind.DATASET, 'dataset', { context });
  const { dryRun, requestId, options } = request;
  const prepared = await prepare(service.registry, raw, { options, dryRun, requestId }, { context });
  const { result } = prepared;
  return {
    dataset: prepared.training,
    validationDataset: prepared.validation,
    rowsIn: BigInt(result.rowsIn),
    rowsOut: BigInt(result.trainingRows + result.validationRows),
    validationRows: BigInt(result.validationRows),
    issues: result.issues.map(({ row, code, message }) =>
      create(RowIssueSchema, { row: BigInt(row), code, message }),
    ),
    issueCounts: Object.fromEntries(result.issueCounts.map(([code, n]) => [code, BigInt(n)])),
    statistics: {
      before: statisticsMessage(result.before),
      after: statisticsMessage(result.after),
      masked: Object.fromEntries(result.masked.map(([type, n]) => [type, BigInt(n)])),
    },
    report: prepared.report,
  };
};

function statisticsMessage({
  rows,
  distinctAnswers,
  question,
  answer,
  classes,
}: Statistics): DatasetStatistics {
  const lengths = ({ min, max, ...rest }: Statistics['question']) => ({
    ...rest,
    min: BigInt(min),
    max: BigInt(max),
  });
  return create(DatasetStatisticsSchema, {
    rows: BigInt(rows),
    distinctAnswers: BigInt(distinctAnswers),
    question: lengths(question),
    answer: lengths(answer),
    classes: Object.fromEntries([...classes].map(([label, count]) => [label, BigInt(count)])),
  });
}
