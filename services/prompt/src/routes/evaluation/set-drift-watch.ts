import { create } from '@bufbuild/protobuf';
import { once } from '@landfall/common/db/idempotency.ts';
import { invalidArgument } from '@landfall/common/errors/errors.ts';
import type { DriftWatch } from '@landfall/proto/landfall/prompt/v1/drift_pb.js';
import {
  SetDriftWatchRequestSchema,
  SetDriftWatchResponseSchema,
} from '@landfall/proto/landfall/prompt/v1/evaluation_service_pb.js';
import type { EvaluationRoute } from '../../context.ts';
import { LabelSchema } from '../../db/entities.ts';
import { DriftWatchEntity } from '../../db/evaluation-entities.ts';
import { requireRight } from '../../domain/rights.ts';
import { beginWatch, DEFAULT_TOLERANCE, writeWatch } from '../../drift/watch-store.ts';
import { namedMetric } from '../../evaluation/metrics.ts';

export const setDriftWatch: EvaluationRoute<'setDriftWatch'> =
  ({ database }) =>
  async (request, { identity }) => {
    const { tenant, subject } = identity;
    const asked = request.watch!;
    const { name, label } = asked;
    requireSense(asked);
    const repeatable = {
      ...{ tenant, requestId: request.requestId },
      method: 'landfall.prompt.v1.PromptEvaluationService/SetDriftWatch',
      input: SetDriftWatchRequestSchema,
      output: SetDriftWatchResponseSchema,
    };
    return database.transaction(async (em) => {
      await requireRight(em, identity, name, 'editor');
      return once(em, repeatable, request, async () => {
        const where = { tenant, name, label };
        const version = (await em.findOne(LabelSchema, where))?.version ?? '';
        const before = await em.findOne(DriftWatchEntity, where);
        const sinceMs = Date.now();
        const watch = beginWatch(asked, version, sinceMs);
        await em.upsert(DriftWatchEntity, {
          ...{ ...where, version, author: subject, sinceMs, foundMs: null },
          watch: writeWatch(watch),
          revision: (before?.revision ?? 0) + 1,
        });
        return create(SetDriftWatchResponseSchema, { watch });
      });
    });
  };

/** @throws LandfallError INVALID_ARGUMENT for a watch that could never find anything */
function requireSense({ name, minimum, maximum, reference, tolerance, optimize }: DriftWatch): void {
  if (maximum <= minimum) throw invalidArgument('watch.maximum', `must lie above the minimum of ${minimum}`);
  if (reference !== undefined) {
    const bound = reference - (tolerance || DEFAULT_TOLERANCE * (maximum - minimum));
    if (bound <= minimum || bound >= maximum) {
      throw invalidArgument(
        'watch.reference',
        `less the tolerance is ${bound}; it must lie between ${minimum} and ${maximum}, or nothing can be lower`,
      );
    }
  }
  if (!optimize) return;
  if (optimize.name !== name)
    throw invalidArgument('watch.optimize.name', `must be the watch's own: ${name}`);
  if (optimize.deployment === '')
    throw invalidArgument('watch.optimize.deployment', 'name the one that answers');
  if (!optimize.measure) namedMetric(optimize.metric, 'watch.optimize.metric');
}
