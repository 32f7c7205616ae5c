import { create } from '@bufbuild/protobuf';
import { invalidArgument } from '@landfall/common/errors/errors.ts';
import { pairedBootstrap } from '@landfall/metrics/bootstrap.ts';
import {
  CompareVersionsRequestSchema,
  CompareVersionsResponseSchema,
  MetricComparisonSchema,
} from '@landfall/proto/landfall/trainer/v1/trainer_service_pb.js';
import type { Route } from '../context.ts';
import { answerOnce, knownAnswer } from '../domain/answer-once.ts';
import { measureVersion } from '../evaluation/measure.ts';
import { LOWER_IS_BETTER, metricsOverRows } from '../evaluation/scores.ts';

const DEFAULT_RESAMPLES = 1000;

export const compareVersions: Route<'compareVersions'> = (service) => async (request, context) => {
  const call = {
    tenant: context.identity.tenant,
    method: 'CompareVersions',
    requestId: request.requestId,
    input: CompareVersionsRequestSchema,
    output: CompareVersionsResponseSchema,
  };
  const before = await knownAnswer(service, call, request);
  if (before) return before;
  const evaluation = request.evaluation!;
  if (evaluation.dataset === '')
    throw invalidArgument('evaluation.dataset', 'is empty; both versions are compared on its rows');
  const first = await measureVersion(service, request.first, 'first', evaluation, context);
  const second = await measureVersion(service, request.second, 'second', evaluation, context);
  if (first.result.retrieval || second.result.retrieval)
    throw invalidArgument('first', 'a CLIP has no answers to be compared row by row; Evaluate measures each');
  const [a, b] = [metricsOverRows(first.rows), metricsOverRows(second.rows)];
  const comparisons = Object.keys(a)
    .filter((metric) => metric in b)
    .map((metric) => {
      const difference = pairedBootstrap(a[metric]!, b[metric]!, {
        rows: first.rows.length,
        resamples: request.resamples || DEFAULT_RESAMPLES,
        seed: request.seed,
        lowerIsBetter: LOWER_IS_BETTER.has(metric),
      });
      return create(MetricComparisonSchema, { metric, ...difference });
    });
  return answerOnce(service, call, request, async () =>
    create(CompareVersionsResponseSchema, { comparisons, first: first.result, second: second.result }),
  );
};
