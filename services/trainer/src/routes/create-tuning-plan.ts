import { create } from '@bufbuild/protobuf';
import { onceIn } from '@landfall/common/db/idempotency.ts';
import {
  CreateTuningPlanRequestSchema,
  CreateTuningPlanResponseSchema,
} from '@landfall/proto/landfall/trainer/v1/trainer_service_pb.js';
import type { Route } from '../context.ts';
import { knownAnswer } from '../domain/known-answer.ts';
import { newPlan } from '../plan/new-plan.ts';
import { needsPreparation } from '../plan/prepare.ts';
import { insertPlan, planReply } from '../plan/store.ts';

export const createTuningPlan: Route<'createTuningPlan'> = (service) => async (request, context) => {
  const { tenant } = context.identity;
  const call = {
    tenant,
    method: 'CreateTuningPlan',
    requestId: request.requestId,
    input: CreateTuningPlanRequestSchema,
    output: CreateTuningPlanResponseSchema,
  };
  // A repeat is answered as before, even when the data has changed hands since.
  const before = await knownAnswer(service, call, request);
  if (before) return before;
  const plan = await newPlan(service, request, { context });
  const reply = await onceIn(service.database, call, request, async (em) => {
    const row = await insertPlan(em, tenant, plan, needsPreparation(plan) ? 'prepare' : 'choose');
    return create(CreateTuningPlanResponseSchema, {
      id: row.id,
      plan: await planReply(em, row, { rounds: true }),
    });
  });
  service.plans.wake(reply.id);
  const { metric, threshold } = plan;
  service.logger.info({ plan_id: reply.id, metric, threshold }, 'a tuning plan begins');
  return reply;
};
