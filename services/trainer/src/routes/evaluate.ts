import { create } from '@bufbuild/protobuf';
import { onceIn } from '@landfall/common/db/idempotency.ts';
import {
  EvaluateRequestSchema,
  EvaluateResponseSchema,
} from '@landfall/proto/landfall/trainer/v1/trainer_service_pb.js';
import type { Route } from '../context.ts';
import { knownAnswer } from '../domain/known-answer.ts';
import { measureVersion } from '../evaluation/measure.ts';

export const evaluate: Route<'evaluate'> = (service) => async (request, context) => {
  const call = {
    tenant: context.identity.tenant,
    method: 'Evaluate',
    requestId: request.requestId,
    input: EvaluateRequestSchema,
    output: EvaluateResponseSchema,
  };
  const before = await knownAnswer(service, call, request);
  if (before) return before;
  const { result } = await measureVersion(service, request.model, 'model', request.evaluation!, context);
  return onceIn(service.database, call, request, async () => create(EvaluateResponseSchema, { result }));
};
