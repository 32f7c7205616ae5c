import { create } from '@bufbuild/protobuf';
import { invalidArgument } from '@landfall/common/errors/errors.ts';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import { Kind, type Version } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import { EvaluationResultSchema, EvaluationRowSchema } from '@landfall/proto/landfall/trainer/v1/job_pb.js';
import {
  EvaluateRequestSchema,
  EvaluateResponseSchema,
} from '@landfall/proto/landfall/trainer/v1/trainer_service_pb.js';
import type { Route, TrainerContext } from '../context.ts';
import { JobEntity } from '../db/entities.ts';
import { answerOnce, knownAnswer } from '../domain/answer-once.ts';
import { hasChatTemplate } from '../domain/base-model.ts';
import { readSpec } from '../domain/job-reply.ts';
import { readRows, requireClean } from '../domain/training-data.ts';
import { CHAT, parseTemplates } from '../engine/data/template.ts';
import { noDeployment, wrongKind } from '../errors.ts';
import { answerRows, score } from '../evaluation/evaluate.ts';
import { trainerIdentity } from '../identity.ts';

const DEFAULT_MAX_TOKENS = 128;
const CONCURRENCY = 8;

export const evaluate: Route<'evaluate'> = (service) => async (request, context) => {
  const { tenant } = context.identity;
  const call = {
    tenant,
    method: 'Evaluate',
    requestId: request.requestId,
    input: EvaluateRequestSchema,
    output: EvaluateResponseSchema,
  };
  const before = await knownAnswer(service, call, request);
  if (before) return before;
  const { registry, replicas } = service;
  const { dataset, maxTokens } = request.evaluation!;
  if (dataset === '') throw invalidArgument('evaluation.dataset', 'is empty; give the set to measure on');
  const model = await registry.version(request.model, 'model', { context });
  const { base, adapter } = await baseOf(service, model, context);
  const validation = await registry.ready(dataset, Kind.DATASET, 'evaluation.dataset', { context });
  const rows = await readRows(registry, validation, false, { context });
  requireClean(validation.ref, rows);
  if (!(await replicas.serves(base.ref, { context }))) throw noDeployment(base.ref);

  const startMs = Date.now();
  const template = await templateOf(service, model, base, context);
  // Loading an adapter takes more than an invoker's role; what is loaded, its caller may ask anyway.
  await using set = replicas.open(base.ref, { context, identity: trainerIdentity(tenant) });
  const answered = await answerRows({
    replicas: set,
    adapter,
    examples: rows.examples,
    template,
    maxTokens: maxTokens || DEFAULT_MAX_TOKENS,
    concurrency: CONCURRENCY,
    signal: context.signal,
  });
  const result = create(EvaluationResultSchema, {
    model: model.ref,
    ...score(answered),
    rows: answered.length,
    seconds: (Date.now() - startMs) / 1000,
    rowResults: answered.map((row) => create(EvaluationRowSchema, row)),
  });
  return answerOnce(service, call, request, async () => create(EvaluateResponseSchema, { result }));
};

async function baseOf(
  { registry }: TrainerContext,
  model: Version,
  context: CallContext,
): Promise<{ base: Version; adapter: string }> {
  if (model.kind === Kind.BASE) return { base: model, adapter: '' };
  if (model.kind !== Kind.ADAPTER || !model.lineage?.base) {
    throw wrongKind(model.ref, 'no model', 'a base or an adapter with its base');
  }
  const base = await registry.ready(model.lineage.base, Kind.BASE, 'model', { context });
  return { base, adapter: model.ref };
}

/** As the model was trained to be asked, where a job of ours has made it; else by its chat template. */
async function templateOf(service: TrainerContext, model: Version, base: Version, context: CallContext) {
  const chat = await hasChatTemplate(service.registry, base, { context });
  const jobId = model.lineage?.jobId ?? '';
  const { tenant } = context.identity;
  const job = jobId && (await service.database.read((em) => em.findOne(JobEntity, { id: jobId, tenant })));
  if (job) return parseTemplates(readSpec(job).config?.instructionTemplates ?? [], chat)[0]!;
  return parseTemplates(chat ? [CHAT] : [], chat)[0]!;
}
