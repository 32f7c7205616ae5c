import { invalidArgument } from '@landfall/common/errors/errors.ts';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import { Kind, type Version } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import type { EvaluationConfig, EvaluationResult } from '@landfall/proto/landfall/trainer/v1/job_pb.js';
import type { TrainerContext } from '../context.ts';
import { JobEntity } from '../db/entities.ts';
import { hasChatTemplate } from '../domain/base-model.ts';
import { readSpec } from '../domain/job-reply.ts';
import { readRows, requireClean } from '../domain/training-data.ts';
import type { RetrievalRanks } from '../engine/align/retrieval.ts';
import { CHAT, type PromptTemplate, parseTemplates } from '../engine/data/template.ts';
import { noDeployment, wrongKind } from '../errors.ts';
import { trainerIdentity } from '../identity.ts';
import { answerRows, askSafety, type ServedModel } from './evaluate.ts';
import { isClip, measureClip } from './measure-clip.ts';
import { resultOf, safetyResultOf } from './results.ts';
import { readSafetySet } from './safety.ts';
import type { AnsweredRow } from './scores.ts';

const DEFAULT_MAX_TOKENS = 128;
const CONCURRENCY = 8;

/** A version's answers and what they came to. */
export interface Measurement {
  result: EvaluationResult;
  /** None of a CLIP, which gives no answers. */
  rows: AnsweredRow[];
  /** Of a CLIP alone. */
  ranks?: RetrievalRanks;
}

/**
 * Measures a version on deployed replicas, on the validation set and, where asked for, the safety set, or a CLIP by
 * itself; for a caller who waits.
 *
 * @throws LandfallError naming the field, or what must be deployed first
 */
export async function measureVersion(
  service: TrainerContext,
  ref: string,
  field: string,
  evaluation: EvaluationConfig,
  context: CallContext,
): Promise<Measurement> {
  const { registry, replicas } = service;
  const { dataset, safety, safetyDataset, judgeModel } = evaluation;
  if (dataset === '' && !safety)
    throw invalidArgument('evaluation.dataset', 'is empty; give the set to measure on, or ask for safety');
  const model = await registry.version(ref, field, { context });
  if (await isClip(service, model, context)) {
    if (dataset === '') throw invalidArgument('evaluation.dataset', 'is empty; give pairs to measure on');
    const ready = await registry.ready(model.ref, Kind.BASE, field, { context });
    return measureClip(service, ready, evaluation, context);
  }
  const { base, adapter } = await servedBy(service, model, field, context);
  const validation = dataset === '' ? undefined : await readSet(service, dataset, context);
  const prompts = safety ? await safetyPrompts(service, safetyDataset, context) : [];
  const template = await templateOf(service, model, base, context);

  // Loading an adapter takes more than an invoker's role; what is loaded, its caller may ask anyway.
  const identity = trainerIdentity(context.identity.tenant);
  const open = (of: string) => replicas.of(of, { context, identity });
  const served: ServedModel = { replicas: open(base.ref), adapter };
  const judge = judgeModel === '' ? undefined : await judgeOf(service, judgeModel, context, open);
  const startMs = Date.now();
  const settings = {
    model: served,
    template,
    maxTokens: evaluation.maxTokens || DEFAULT_MAX_TOKENS,
    concurrency: CONCURRENCY,
    signal: context.signal,
  };
  const rows = validation
    ? await answerRows({
        ...settings,
        examples: validation.examples,
        perplexity: true,
        ...(judge ? { judge } : {}),
      })
    : [];
  const graded = prompts.length > 0 ? await askSafety(settings, prompts) : [];
  const seconds = (Date.now() - startMs) / 1000;
  const result = resultOf(rows, { model: model.ref, dataset: validation?.ref ?? '', seconds });
  if (graded.length > 0) {
    const asked = safetyResultOf(graded, { model: model.ref, dataset: safetyDataset, seconds });
    result.safety = asked.safety;
    if (rows.length === 0) Object.assign(result, { rows: asked.rows, rowResults: asked.rowResults });
  }
  return { result, rows };
}

async function readSet({ registry }: TrainerContext, dataset: string, context: CallContext) {
  const version = await registry.ready(dataset, Kind.DATASET, 'evaluation.dataset', { context });
  const rows = await readRows(registry, version, false, { context });
  requireClean(version.ref, rows);
  return { ref: version.ref, examples: rows.examples };
}

async function safetyPrompts({ registry }: TrainerContext, ref: string, context: CallContext) {
  if (ref === '') return readSafetySet();
  const version = await registry.ready(ref, Kind.DATASET, 'evaluation.safety_dataset', { context });
  const files = (version.manifest?.files ?? []).map((file) => file.path);
  return readSafetySet(await registry.folder(version, { context }), files);
}

async function judgeOf(
  service: TrainerContext,
  ref: string,
  context: CallContext,
  open: (base: string) => ServedModel['replicas'],
): Promise<ServedModel> {
  const version = await service.registry.version(ref, 'evaluation.judge_model', { context });
  const { base, adapter } = await servedBy(service, version, 'evaluation.judge_model', context);
  return { replicas: open(base.ref), adapter };
}

/** The base whose replicas answer for a version. */
async function servedBy(
  { registry, replicas }: TrainerContext,
  model: Version,
  field: string,
  context: CallContext,
): Promise<{ base: Version; adapter: string }> {
  let [base, adapter] = [model, ''];
  if (model.kind !== Kind.BASE) {
    if (model.kind !== Kind.ADAPTER || !model.lineage?.base)
      throw wrongKind(model.ref, 'no model', 'a base or an adapter with its base');
    base = await registry.ready(model.lineage.base, Kind.BASE, field, { context });
    adapter = model.ref;
  }
  if (!(await replicas.serves(base.ref, { context }))) throw noDeployment(base.ref);
  return { base, adapter };
}

/** As the model was trained to be asked, where a job of ours has made it; else by its chat template. */
async function templateOf(
  service: TrainerContext,
  model: Version,
  base: Version,
  context: CallContext,
): Promise<PromptTemplate> {
  const chat = await hasChatTemplate(service.registry, base, { context });
  const jobId = model.lineage?.jobId ?? '';
  const { tenant } = context.identity;
  const job = jobId && (await service.database.read((em) => em.findOne(JobEntity, { id: jobId, tenant })));
  if (job) return parseTemplates(readSpec(job).config?.instructionTemplates ?? [], chat)[0]!;
  return parseTemplates(chat ? [CHAT] : [], chat)[0]!;
}
