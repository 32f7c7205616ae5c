import { create } from '@bufbuild/protobuf';
import { once } from '@landfall/common/db/idempotency.ts';
import { failedPrecondition } from '@landfall/common/errors/errors.ts';
import {
  EvaluatePromptRequestSchema,
  EvaluatePromptResponseSchema,
} from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import type { Route } from '../context.ts';
import { findVersion } from '../domain/find.ts';
import { requireRight } from '../domain/rights.ts';
import { evaluationReply } from '../evaluation/evaluation-reply.ts';
import { newEvaluation } from '../evaluation/new-evaluation.ts';
import { ended } from '../jobs/watch-job.ts';
import { chooseTestSet } from '../test-sets/choose.ts';

export const evaluatePrompt: Route<'evaluatePrompt'> = (context) => async (request, call) => {
  const { database, config } = context;
  const { identity } = call;
  const { tenant, subject } = identity;
  const repeatable = {
    tenant,
    method: 'landfall.prompt.v1.PromptService/EvaluatePrompt',
    requestId: request.requestId,
    input: EvaluatePromptRequestSchema,
    output: EvaluatePromptResponseSchema,
  };
  const chosen = await chooseTestSet(context, request.dataset, call);
  const started = await database.transaction(async (em) => {
    await requireRight(em, identity, request.name, 'invoker');
    return once(em, repeatable, request, async () => {
      const { version } = await findVersion(em, tenant, request.name, request.version);
      const set = await chosen(em, version);
      const row = await newEvaluation(em, subject, version, set, request, config.maxRenderedLength);
      return create(EvaluatePromptResponseSchema, { evaluation: evaluationReply(row) });
    });
  });
  context.jobs.wake();
  if (request.startOnly) return started;
  const evaluation = evaluationReply(await ended(context, 'evaluation', started.evaluation!.id, call));
  if (evaluation.failure)
    throw failedPrecondition(`evaluation ${evaluation.id} failed: ${evaluation.failure}`);
  return { metrics: evaluation.results[0]?.metrics ?? {}, evaluation };
};
