import { create, type MessageInitShape } from '@bufbuild/protobuf';
import type { DatasetStatisticsSchema } from '@landfall/proto/landfall/trainer/v1/preparation_pb.js';
import {
  type PrepareDatasetResponse,
  PrepareDatasetResponseSchema,
} from '@landfall/proto/landfall/trainer/v1/trainer_service_pb.js';
import type { Lengths, Statistics } from '../engine/preparation/statistics.ts';
import type { PreparationResult } from '../engine/preparation/task.ts';

/** What PrepareDataset answers, without references to versions. */
export function preparationReply(result: PreparationResult, report: string): PrepareDatasetResponse {
  return create(PrepareDatasetResponseSchema, {
    rowsIn: BigInt(result.rowsIn),
    rowsOut: BigInt(result.trainingRows + result.validationRows),
    validationRows: BigInt(result.validationRows),
    issues: result.issues.map(({ row, code, message }) => ({ row: BigInt(row), code, message })),
    issueCounts: counts(result.issueCounts),
    statistics: {
      before: statistics(result.before),
      after: statistics(result.after),
      masked: counts(result.masked),
    },
    report,
  });
}

function statistics(figures: Statistics): MessageInitShape<typeof DatasetStatisticsSchema> {
  return {
    rows: BigInt(figures.rows),
    distinctAnswers: BigInt(figures.distinctAnswers),
    question: lengths(figures.question),
    answer: lengths(figures.answer),
    classes: counts(figures.classes),
  };
}

function lengths({ min, median, mean, p95, max }: Lengths) {
  return { min: BigInt(min), median, mean, p95, max: BigInt(max) };
}

function counts(entries: Iterable<readonly [string, number]>): Record<string, bigint> {
  return Object.fromEntries([...entries].map(([name, count]) => [name, BigInt(count)]));
}
