import { create } from '@bufbuild/protobuf';
import { once } from '@landfall/common/db/idempotency.ts';
import { failedPrecondition } from '@landfall/common/errors/errors.ts';
import {
  OptimizePromptRequestSchema,
  OptimizePromptResponseSchema,
} from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import type { Route } from '../context.ts';
import { findVersion } from '../domain/find.ts';
import { requireRight } from '../domain/rights.ts';
import { ended } from '../jobs/watch-job.ts';
import { newOptimization } from '../optimization/new-optimization.ts';
import { optimizationReply } from '../optimization/optimization-reply.ts';
import { chooseTestSet } from '../test-sets/choose.ts';

export const optimizePrompt: Route<'optimizePrompt'> = (context) => async (request, call) => {
  const { database, config } = context;
  const { identity } = call;
  const { tenant, subject } = identity;
  const repeatable = {
    tenant,
    method: 'landfall.prompt.v1.PromptService/OptimizePrompt',
    requestId: request.requestId,
    input: OptimizePromptRequestSchema,
    output: OptimizePromptResponseSchema,
  };
  const chosen = await chooseTestSet(context, request.dataset, call);
  const started = await database.transaction(async (em) => {
    await requireRight(em, identity, request.name, 'editor');
    return once(em, repeatable, request, async () => {
      const { version } = await findVersion(em, tenant, request.name, request.version);
      const set = await chosen(em, version);
      const row = await newOptimization(em, subject, version, set, request, config.maxRenderedLength);
      return create(OptimizePromptResponseSchema, { optimization: optimizationReply(row) });
    });
  });
  context.jobs.wake();
  if (request.startOnly) return started;
  const row = await ended(context, 'optimization', started.optimization!.id, call);
  const optimization = optimizationReply(row);
  const { id, failure, heldOut, version, fromVersion } = optimization;
  if (failure) throw failedPrecondition(`optimisation ${id} failed: ${failure}`);
  return {
    version: version || fromVersion,
    metrics: heldOut ? { [heldOut.metric]: heldOut.second } : {},
    optimization,
  };
};
