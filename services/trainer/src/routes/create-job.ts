import { create } from '@bufbuild/protobuf';
import type { EntityManager } from '@landfall/common/db/database.ts';
import { onceIn } from '@landfall/common/db/idempotency.ts';
import { JobSchema } from '@landfall/proto/landfall/trainer/v1/job_pb.js';
import {
  CreateJobRequestSchema,
  CreateJobResponseSchema,
} from '@landfall/proto/landfall/trainer/v1/trainer_service_pb.js';
import type { Route } from '../context.ts';
import type { JobRow } from '../db/entities.ts';
import { jobReply, writeOutcome, writeSpec } from '../domain/job-reply.ts';
import { createJob as insertJob } from '../domain/job-transitions.ts';
import { knownAnswer } from '../domain/known-answer.ts';
import { type ResolvedSpec, resolveSpec } from '../domain/resolve-spec.ts';

export const createJob: Route<'createJob'> = (service) => async (request, context) => {
  const { tenant } = context.identity;
  const call = {
    tenant,
    method: 'CreateJob',
    requestId: request.requestId,
    input: CreateJobRequestSchema,
    output: CreateJobResponseSchema,
  };
  // A repeat is answered as before, even when the data has changed hands since.
  const before = await knownAnswer(service, call, request);
  if (before) return before;
  const resolved = await resolveSpec(service, request.spec!, { context });
  const reply = await onceIn(service.database, call, request, async (em) => {
    const row = await insertResolved(em, tenant, resolved);
    return create(CreateJobResponseSchema, { job: await jobReply(em, row) });
  });
  service.logger.info({ job_id: reply.job!.id, base: resolved.spec.baseModel }, 'a job is queued');
  return reply;
};

/** A job from its resolved specification, in the caller's transaction. */
export function insertResolved(
  em: EntityManager,
  tenant: string,
  { spec, estimate, warnings }: ResolvedSpec,
): Promise<JobRow> {
  const outcome = create(JobSchema, {
    estimatedMemoryBytes: BigInt(estimate.memoryBytes),
    estimatedSeconds: estimate.seconds,
    warnings,
  });
  return insertJob(em, tenant, writeSpec(spec), writeOutcome(outcome));
}
