import { create } from '@bufbuild/protobuf';
import { failedPrecondition, invalidArgument } from '@landfall/common/errors/errors.ts';
import type { CallOptions } from '@landfall/common/rpc/client.ts';
import type { ModelConfig } from '@landfall/graph/models/config.ts';
import { Kind, type Version } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import {
  type EvaluationConfig,
  EvaluationConfigSchema,
  type JobSpec,
  JobSpecSchema,
  Method,
  type Replay,
  ReplaySchema,
  type TrainingConfig,
} from '@landfall/proto/landfall/trainer/v1/job_pb.js';
import type { TrainerContext } from '../context.ts';
import type { MethodName } from '../engine/advice/choose-method.ts';
import { type Estimate, estimateRun, whatFits } from '../engine/advice/estimate.ts';
import { outputKind } from '../engine/train/output.ts';
import { noDeployment, wrongKind } from '../errors.ts';
import { advise, memoryLimit, runPlan, sizeOf } from './advise.ts';
import { hasChatTemplate, modelConfig } from './base-model.ts';
import { continuedConfig } from './continue-from.ts';
import { completeConfig } from './spec-defaults.ts';
import { readRows, requireClean, requireUsable } from './training-data.ts';
import { methodName, methodOf, trainableSpec } from './training-spec.ts';

const DEFAULT_MAX_TOKENS = 128;
const DEFAULT_REPLAY_SHARE = 0.2;
/** An estimate may be off by this much: what lies between is decided by the job's measured step. */
const TOLERANCE = 1.25;

/** A job's specification without gaps, and what it will take. */
export interface ResolvedSpec {
  spec: JobSpec;
  estimate: Estimate;
  warnings: string[];
}

/**
 * Resolves references to versions, chooses what was left open, fills in defaults, and refuses everything that could only
 * fail later.
 *
 * @param unprepared the training set is prepared before it is used, so broken rows of it are no hindrance
 * @throws LandfallError INVALID_ARGUMENT, NOT_FOUND or FAILED_PRECONDITION, naming field, row or what would fit
 */
export async function resolveSpec(
  service: TrainerContext,
  asked: JobSpec,
  options: CallOptions,
  { unprepared = false } = {},
): Promise<ResolvedSpec> {
  const { registry } = service;
  const from =
    asked.fromVersion === ''
      ? undefined
      : await registry.version(asked.fromVersion, 'spec.from_version', options);
  const base = await baseOf(service, asked, from, options);
  const train = await registry.ready(asked.trainDataset, Kind.DATASET, 'spec.train_dataset', options);
  const model = await modelConfig(registry, base, options);
  const chat = await hasChatTemplate(registry, base, options);
  const rows = await readRows(registry, train, true, options);
  if (unprepared) requireUsable(train.ref, rows);
  else requireClean(train.ref, rows);
  const conversation = rows.examples.find(({ messages }) => messages);
  if (conversation && !chat) {
    throw failedPrecondition(
      `${train.ref}: row ${conversation.row} has messages, and ${base.ref} has no chat template`,
    );
  }
  const data = sizeOf(rows.examples);
  const limit = memoryLimit(service.config.memoryBytes);
  const warnings: string[] = [];

  const method = asked.method === Method.UNSPECIFIED ? advised() : methodName(asked.method);
  const setting = { method, model, rows: data.rows, chat };
  const given = from ? await continuedConfig(registry, from, method, asked.config, options) : asked.config;
  const config = completeConfig(given, setting);
  const spec = trainableSpec(method, config, model);
  const kind = outputKind(spec) === 'adapter' ? Kind.ADAPTER : Kind.BASE;
  await registry.requireFree(asked.outputModel, kind, options);
  const estimate = checkFit(model, method, config);
  const standIn = unprepared ? train.ref : '';
  const evaluation = await resolveEvaluation(service, asked.evaluation, base, kind, options, standIn);
  if (config.keepBest || config.earlyStoppingPatience > 0) {
    const name = config.keepBest ? 'keep_best' : 'early_stopping_patience';
    if (evaluation.dataset === '')
      throw invalidArgument(`spec.config.${name}`, 'needs spec.evaluation.dataset to look at');
  }
  return {
    spec: create(JobSpecSchema, {
      baseModel: base.ref,
      trainDataset: train.ref,
      method: methodOf(method),
      config,
      evaluation,
      outputModel: asked.outputModel,
      fromVersion: from?.ref ?? '',
      ...(asked.replay ? { replay: await resolveReplay(service, asked.replay, options) } : {}),
    }),
    estimate,
    warnings,
  };

  function advised(): MethodName {
    const demand = { understanding: false, gpus: 0, goal: 'balanced' as const, memoryBytes: limit };
    const advice = advise(model, chat, data, { ...demand, threads: service.config.threads });
    warnings.push(`no method was given; ${advice.method} was chosen: ${advice.reason}`);
    return advice.method;
  }

  function checkFit(shape: ModelConfig, name: MethodName, settings: TrainingConfig): Estimate {
    const plan = runPlan(name, settings, shape, data, service.config.threads);
    const found = estimateRun(shape, plan);
    if (found.memoryBytes <= limit * TOLERANCE) return found;
    const ways = whatFits(shape, plan, limit).map(
      ({ change, memoryBytes }) => `${change} (${mib(memoryBytes)})`,
    );
    throw failedPrecondition(
      `the job would need about ${mib(found.memoryBytes)} of memory, and ${mib(limit)} may be used; ` +
        (ways.length > 0
          ? `what would fit: ${ways.join(', ')}`
          : 'no setting of it fits: use a smaller base'),
      { reason: 'DOES_NOT_FIT' },
    );
  }
}

const mib = (bytes: number) => `${Math.ceil(bytes / 2 ** 20)} MiB`;

/** The base that is trained on: of a tuned version that is a model of its own, that version. */
async function baseOf(
  { registry }: TrainerContext,
  asked: JobSpec,
  from: Version | undefined,
  options: CallOptions,
): Promise<Version> {
  const base = await registry.ready(asked.baseModel, Kind.BASE, 'spec.base_model', options);
  if (!from) return base;
  if (from.kind === Kind.BASE) return registry.ready(from.ref, Kind.BASE, 'spec.from_version', options);
  const ready = await registry.ready(from.ref, Kind.ADAPTER, 'spec.from_version', options);
  if (ready.lineage?.base !== base.ref) {
    throw failedPrecondition(
      `${ready.ref} was tuned from ${ready.lineage?.base}, and base_model is ${base.ref}`,
      {
        reason: 'OTHER_BASE',
      },
    );
  }
  return base;
}

async function resolveReplay(
  { registry }: TrainerContext,
  replay: Replay,
  options: CallOptions,
): Promise<Replay> {
  const datasets: string[] = [];
  for (const [i, ref] of replay.datasets.entries()) {
    const version = await registry.ready(ref, Kind.DATASET, `spec.replay.datasets[${i}]`, options);
    requireClean(version.ref, await readRows(registry, version, true, options));
    datasets.push(version.ref);
  }
  return create(ReplaySchema, { datasets, share: replay.share || DEFAULT_REPLAY_SHARE });
}

async function resolveEvaluation(
  service: TrainerContext,
  asked: EvaluationConfig | undefined,
  base: Version,
  kind: Kind,
  options: CallOptions,
  standIn: string,
): Promise<EvaluationConfig> {
  const { registry, replicas } = service;
  const field = 'spec.evaluation';
  const measures = asked && (asked.dataset || asked.safety || asked.earlierDatasets.length > 0);
  if (!asked || !measures) {
    if (asked && asked.gates.length > 0)
      throw invalidArgument(
        `${field}.gates`,
        'need something to measure: give dataset, safety or earlier_datasets',
      );
    return create(EvaluationConfigSchema);
  }
  const set = async (ref: string, name: string) => {
    if (ref === '') return '';
    const version = await registry.ready(ref, Kind.DATASET, `${field}.${name}`, options);
    // A set that the validation rows are yet to be split off was looked at already.
    if (version.ref !== standIn) requireClean(version.ref, await readRows(registry, version, false, options));
    return version.ref;
  };
  const dataset = await set(asked.dataset, 'dataset');
  const earlierDatasets: string[] = [];
  for (const [i, ref] of asked.earlierDatasets.entries())
    earlierDatasets.push(await set(ref, `earlier_datasets[${i}]`));
  const safety = asked.safetyDataset;
  const safetyDataset =
    safety === '' ? '' : (await registry.ready(safety, Kind.DATASET, `${field}.safety_dataset`, options)).ref;
  // A model of its own is deployed for as long as it is measured; an adapter needs its base.
  const needsBase = kind === Kind.ADAPTER || asked.includeBase || earlierDatasets.length > 0;
  if (needsBase && !(await replicas.serves(base.ref, options))) throw noDeployment(base.ref);
  let judgeModel = '';
  if (asked.judgeModel !== '') {
    const judge = await registry.version(asked.judgeModel, `${field}.judge_model`, options);
    if (judge.kind === Kind.DATASET) throw wrongKind(judge.ref, 'a data set', 'a model');
    judgeModel = judge.ref;
    const served = judge.kind === Kind.BASE ? judge.ref : (judge.lineage?.base ?? judge.ref);
    if (!(await replicas.serves(served, options))) throw noDeployment(served);
  }
  requireMeasured(asked);
  return create(EvaluationConfigSchema, {
    ...asked,
    dataset,
    earlierDatasets,
    safetyDataset,
    judgeModel,
    maxTokens: asked.maxTokens || DEFAULT_MAX_TOKENS,
  });
}

/** A gate on what is not measured could not be passed. */
function requireMeasured({ gates, dataset, safety, earlierDatasets, judgeModel }: EvaluationConfig): void {
  for (const [i, { metric }] of gates.entries()) {
    const needs = metric.startsWith('safety_')
      ? !safety && 'safety'
      : metric === 'backward_transfer'
        ? earlierDatasets.length === 0 && 'earlier_datasets'
        : metric === 'judge'
          ? judgeModel === '' && 'judge_model'
          : dataset === '' && 'dataset';
    if (needs)
      throw invalidArgument(`spec.evaluation.gates[${i}].metric`, `${metric} is measured only with ${needs}`);
  }
}
