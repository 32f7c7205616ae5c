import { create } from '@bufbuild/protobuf';
import { failedPrecondition, invalidArgument } from '@landfall/common/errors/errors.ts';
import type { CallOptions } from '@landfall/common/rpc/client.ts';
import { Kind, type Version } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import {
  type JobSpec,
  JobSpecSchema,
  Method,
  type Replay,
  ReplaySchema,
  type TrainingConfig,
} from '@landfall/proto/landfall/trainer/v1/job_pb.js';
import type { TrainerContext } from '../context.ts';
import type { MethodName } from '../engine/advice/choose-method.ts';
import type { Estimate } from '../engine/advice/estimate.ts';
import { outputKind } from '../engine/train/output.ts';
import { memoryLimit } from './advise.ts';
import { continuedConfig } from './continue-from.ts';
import { resolveEvaluation, resolveRetrieval } from './resolve-evaluation.ts';
import { readRows, requireClean, requireUsable } from './training-data.ts';
import { methodName, methodOf, runSpec } from './training-spec.ts';
import { tuningOf } from './tuning.ts';

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
  const tuning = await tuningOf(registry, base, options);
  const isClip = 'clip' in tuning.shape;
  const rows = await readRows(registry, train, true, options);
  if (unprepared) requireUsable(train.ref, rows);
  else requireClean(train.ref, rows);
  tuning.requireReadable(train, rows);
  if (isClip && asked.replay)
    throw invalidArgument(
      'spec.replay',
      'is for models that answer; put the pairs of a CLIP into one data set',
    );
  const data = tuning.sizeOf(rows.examples);
  const limit = memoryLimit(service.config.memoryBytes);
  const warnings: string[] = [];

  const method = asked.method === Method.UNSPECIFIED ? advised() : methodName(asked.method);
  const given = from ? await continuedConfig(registry, from, method, asked.config, options) : asked.config;
  const config = tuning.complete(method, given, data);
  const { spec, sight } = runSpec(method, config, tuning.shape);
  const output = outputKind(spec, sight);
  const kind = output === 'adapter' ? Kind.ADAPTER : Kind.BASE;
  await registry.requireFree(asked.outputModel, kind, options);
  const estimate = checkFit(method, config);
  const standIn = unprepared ? train.ref : '';
  const evaluation = isClip
    ? await resolveRetrieval(service, asked.evaluation, options)
    : await resolveEvaluation(service, asked.evaluation, base, kind, options, standIn);
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
    const advice = tuning.advise(data, { ...demand, threads: service.config.threads });
    warnings.push(`no method was given; ${advice.method} was chosen: ${advice.reason}`);
    return advice.method;
  }

  function checkFit(name: MethodName, settings: TrainingConfig): Estimate {
    const { threads } = service.config;
    const found = tuning.estimate(name, settings, data, threads);
    if (found.memoryBytes <= limit * TOLERANCE) return found;
    const ways = tuning
      .smaller(name, settings, data, threads, limit)
      .map(({ change, memoryBytes }) => `${change} (${mib(memoryBytes)})`);
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
