import { create } from '@bufbuild/protobuf';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import { Kind } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import { type JobSpec, JobSpecSchema, Method } from '@landfall/proto/landfall/trainer/v1/job_pb.js';
import {
  CreateJobRequestSchema,
  CreateJobResponseSchema,
} from '@landfall/proto/landfall/trainer/v1/trainer_service_pb.js';
import type { Route, TrainerContext } from '../context.ts';
import { answerOnce, knownAnswer } from '../domain/answer-once.ts';
import { hasChatTemplate, modelConfig } from '../domain/base-model.ts';
import { jobReply, writeSpec } from '../domain/job-reply.ts';
import { createJob as insertJob } from '../domain/job-transitions.ts';
import { completeConfig } from '../domain/spec-defaults.ts';
import { readRows, requireClean } from '../domain/training-data.ts';
import { methodNotOffered, noDeployment } from '../errors.ts';

const DEFAULT_MAX_TOKENS = 128;

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
  const spec = await resolveSpec(service, request.spec!, context);
  const reply = await answerOnce(service, call, request, async (em) => {
    const row = await insertJob(em, tenant, writeSpec(spec));
    return create(CreateJobResponseSchema, { job: await jobReply(em, row) });
  });
  service.logger.info({ job_id: reply.job!.id, base: spec.baseModel }, 'a job is queued');
  return reply;
};

/** References resolved to versions, defaults filled in, and everything refused that could only fail later. */
async function resolveSpec(service: TrainerContext, asked: JobSpec, context: CallContext): Promise<JobSpec> {
  const { registry } = service;
  const options = { context };
  if (asked.method !== Method.LORA) throw methodNotOffered(Method[asked.method] ?? String(asked.method));
  const base = await registry.ready(asked.baseModel, Kind.BASE, 'spec.base_model', options);
  const train = await registry.ready(asked.trainDataset, Kind.DATASET, 'spec.train_dataset', options);
  await registry.requireFree(asked.outputModel, Kind.ADAPTER, options);
  const model = await modelConfig(registry, base, options);
  const chat = await hasChatTemplate(registry, base, options);
  const rows = await readRows(registry, train, true, options);
  requireClean(train.ref, rows);
  const config = completeConfig(asked.config, model, rows.examples.length, chat);

  const evaluation = { dataset: '', maxTokens: 0, includeBase: false };
  if (asked.evaluation && asked.evaluation.dataset !== '') {
    const { dataset, maxTokens, includeBase } = asked.evaluation;
    const validation = await registry.ready(dataset, Kind.DATASET, 'spec.evaluation.dataset', options);
    requireClean(validation.ref, await readRows(registry, validation, false, options));
    if (!(await service.replicas.serves(base.ref, options))) throw noDeployment(base.ref);
    Object.assign(evaluation, {
      dataset: validation.ref,
      maxTokens: maxTokens || DEFAULT_MAX_TOKENS,
      includeBase,
    });
  }
  return create(JobSpecSchema, {
    baseModel: base.ref,
    trainDataset: train.ref,
    method: asked.method,
    config,
    evaluation,
    outputModel: asked.outputModel,
  });
}
