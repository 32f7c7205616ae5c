import { create } from '@bufbuild/protobuf';
import { onceIn } from '@landfall/common/db/idempotency.ts';
import { invalidArgument } from '@landfall/common/errors/errors.ts';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import { pairedBootstrap } from '@landfall/metrics/bootstrap.ts';
import {
  type CompareVersionsRequest,
  CompareVersionsRequestSchema,
  CompareVersionsResponseSchema,
  MetricComparisonSchema,
} from '@landfall/proto/landfall/trainer/v1/trainer_service_pb.js';
import type { Route, TrainerContext } from '../context.ts';
import { knownAnswer } from '../domain/known-answer.ts';
import { comparedMetrics } from '../evaluation/compare.ts';
import { measureVersion } from '../evaluation/measure.ts';
import { isClip } from '../evaluation/measure-clip.ts';
import { LOWER_IS_BETTER } from '../evaluation/scores.ts';

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
  await requireComparable(service, request, context);
  const first = await measureVersion(service, request.first, 'first', evaluation, context);
  const second = await measureVersion(service, request.second, 'second', evaluation, context);
  const comparisons = comparedMetrics(first, second).map(({ metric, rows, ...sides }) => {
    const difference = pairedBootstrap(sides.first, sides.second, {
      rows,
      resamples: request.resamples || DEFAULT_RESAMPLES,
      seed: request.seed,
      lowerIsBetter: LOWER_IS_BETTER.has(metric),
    });
    return create(MetricComparisonSchema, { metric, ...difference });
  });
  return onceIn(service.database, call, request, async () =>
    create(CompareVersionsResponseSchema, { comparisons, first: first.result, second: second.result }),
  );
};

/** A CLIP has no metric in common with a model that answers: said before either is measured. */
async function requireComparable(
  service: TrainerContext,
  { first, second }: CompareVersionsRequest,
  context: CallContext,
): Promise<void> {
  const [one, other] = await Promise.all(
    Object.entries({ first, second }).map(async ([field, ref]) => {
      const version = await service.registry.version(ref, field, { context });
      return { ref: version.ref, embeds: await isClip(service, version, context) };
    }),
  );
  if (one!.embeds === other!.embeds) return;
  const [clip, answering] = one!.embeds ? [one!, other!] : [other!, one!];
  throw invalidArgument(
    'second',
    `has no metric in common with first: ${clip.ref} is a CLIP, and ${answering.ref} answers`,
  );
}
