import { existsSync } from 'node:fs';
import path from 'node:path';
import { create } from '@bufbuild/protobuf';
import type { Logger } from '@landfall/common/log/logger.ts';
import {
  Kind,
  type Lineage,
  LineageSchema,
  type Version,
  VersionState,
} from '@landfall/proto/landfall/registry/v1/model_pb.js';
import { Stage, type TrainingConfig } from '@landfall/proto/landfall/trainer/v1/job_pb.js';
import type { RegistryGateway } from '../clients/registry.ts';
import type { ReplicaPool } from '../clients/replicas.ts';
import type { WorkerConfig } from '../config.ts';
import type { TrainingEvent, TrainingTask } from '../engine/train/run.ts';
import { runInThread } from '../engine/train/thread.ts';
import type { Attempt } from './attempt.ts';
import { evaluateJob } from './evaluate-job.ts';
import { enterStage, within } from './progress.ts';

/** What an attempt works with. */
export interface PipelineContext {
  config: WorkerConfig;
  logger: Logger;
  registry: RegistryGateway;
  replicas: ReplicaPool;
}

/** What a job is made from, on the local disk. */
interface Inputs {
  base: Version;
  train: Version;
  validation: Version | undefined;
  modelFolder: string;
  datasetFolder: string;
}

const ADAPTER_FILES = ['adapter_config.json', 'adapter_model.safetensors'];

/**
 * Runs a job from its first unfinished stage to its registered version. Every stage may be run again: what it leaves
 * behind is found by the job's id.
 *
 * @throws AttemptStopped, TrainingError, or a service's refusal
 */
export async function runPipeline(context: PipelineContext, attempt: Attempt): Promise<void> {
  const folder = jobFolder(context.config, attempt.job.id);
  const inputs = await download(context, attempt);
  const adapterFolder = path.join(folder, 'adapter');
  await train(context, attempt, inputs, folder, adapterFolder);
  const lineage = lineageOf(attempt, inputs);
  const draft = await upload(context, attempt, adapterFolder, lineage);
  const metrics = await evaluate(context, attempt, inputs, draft, folder);
  await register(context, attempt, draft, metrics, lineage);
}

/** Checkpoints and answers of a job; kept when it fails, removed when its version is registered. */
export function jobFolder(config: WorkerConfig, jobId: string): string {
  return path.join(config.home, 'jobs', jobId);
}

async function download({ registry }: PipelineContext, attempt: Attempt): Promise<Inputs> {
  await enter(attempt, Stage.DOWNLOAD);
  const { baseModel, trainDataset, evaluation } = attempt.job.spec!;
  const options = { identity: attempt.identity, signal: attempt.signal };
  const find = (ref: string, kind: Kind, field: string) =>
    attempt.patiently(() => registry.ready(ref, kind, field, options));
  const base = await find(baseModel, Kind.BASE, 'base_model');
  const train = await find(trainDataset, Kind.DATASET, 'train_dataset');
  const set = evaluation?.dataset ?? '';
  const validation = set === '' ? undefined : await find(set, Kind.DATASET, 'evaluation.dataset');
  const modelFolder = await attempt.patiently(() => registry.folder(base, options));
  const datasetFolder = await attempt.patiently(() => registry.folder(train, options));
  return { base, train, validation, modelFolder, datasetFolder };
}

async function train(
  { config, logger }: PipelineContext,
  attempt: Attempt,
  inputs: Inputs,
  folder: string,
  adapterFolder: string,
): Promise<void> {
  // The adapter's configuration is written last: where it is, training has ended.
  if (!existsSync(path.join(adapterFolder, ADAPTER_FILES[0]!))) {
    await enter(attempt, Stage.PREPARE);
    const { finished } = await runInThread({
      task: taskOf(config, attempt, inputs, folder),
      adapterFolder,
      baseName: inputs.base.ref,
      onEvent: (event) => note(attempt, logger, event),
      signal: attempt.signal,
    });
    if (!finished) attempt.signal.throwIfAborted();
  }
  await attempt.report({ trained: true });
}

function note(attempt: Attempt, logger: Logger, event: TrainingEvent): void {
  const { progress } = attempt;
  if (event.type === 'prepared') {
    enterStage(progress, Stage.TRAIN);
    progress.totalSteps = event.totalSteps;
    progress.step = event.resumedAt;
    progress.trainableParameters = BigInt(event.trainableParameters);
    progress.totalParameters = BigInt(event.totalParameters);
    const { rows, issues, resumedAt } = event;
    logger.info({ job_id: attempt.job.id, rows, issues, resumed_at: resumedAt }, 'training begins');
  } else if (event.type === 'history') {
    for (const { step, epoch, loss, learningRate } of event.points)
      attempt.addPoint(step, epoch, loss, learningRate);
  } else if (event.type === 'step') {
    progress.step = event.step;
    progress.epoch = event.epoch;
    progress.loss = event.loss;
    progress.learningRate = event.learningRate;
    progress.tokensPerSecond = event.tokensPerSecond;
    progress.remainingSeconds = event.remainingSeconds;
    within(progress, event.step / event.totalSteps);
    attempt.addPoint(event.step, event.epoch, event.loss, event.learningRate);
  }
}

function taskOf(config: WorkerConfig, attempt: Attempt, inputs: Inputs, folder: string): TrainingTask {
  const settings = attempt.job.spec!.config as TrainingConfig;
  return {
    modelFolder: inputs.modelFolder,
    datasetFolder: inputs.datasetFolder,
    checkpointFolder: path.join(folder, 'checkpoints'),
    weightCacheFolder: path.join(config.home, 'cache', 'weights'),
    identity: `${inputs.base.digest} ${inputs.train.digest}`,
    threads: config.threads,
    rank: settings.rank,
    loraAlpha: settings.loraAlpha,
    targetModules: settings.targetModules,
    learningRate: settings.learningRate,
    epochs: settings.epochs,
    batchSize: settings.batchSize,
    gradientAccumulationSteps: settings.gradientAccumulationSteps,
    warmupSteps: settings.warmupSteps,
    weightDecay: settings.weightDecay,
    maxGradNorm: settings.maxGradNorm,
    maxLength: settings.maxLength,
    seed: settings.seed,
    templates: settings.instructionTemplates,
    checkpointSteps: settings.checkpointSteps,
  };
}

function lineageOf(attempt: Attempt, { base, train, validation }: Inputs): Lineage {
  const reference = ({ ref, digest }: Version, role: string) => ({ ref, digest, role });
  return create(LineageSchema, {
    base: base.ref,
    datasets: [reference(train, 'train'), ...(validation ? [reference(validation, 'validation')] : [])],
    jobId: attempt.job.id,
    method: 'lora',
  });
}

async function upload(
  { registry }: PipelineContext,
  attempt: Attempt,
  adapterFolder: string,
  lineage: Lineage,
): Promise<Version> {
  await enter(attempt, Stage.UPLOAD);
  const { id, spec } = attempt.job;
  const { outputModel } = spec!;
  const options = { identity: attempt.identity };
  await attempt.patiently(() =>
    registry.ensureModel(outputModel, Kind.ADAPTER, `tuned from ${spec!.baseModel}`, options),
  );
  // The same token gives the same draft, whichever attempt asks.
  const draft = await attempt.patiently(() =>
    registry.draft(outputModel, `job-${id}`, `job ${id}`, lineage, options),
  );
  const now = await attempt.patiently(() => registry.version(draft.ref, 'output_model', options));
  if (now.state === VersionState.DRAFT) {
    for (const file of ADAPTER_FILES) {
      const source = { path: file, file: path.join(adapterFolder, file) };
      await attempt.patiently(() => registry.upload(draft, source, options));
    }
  }
  await attempt.report({ outputVersion: draft.ref });
  return draft;
}

async function evaluate(
  context: PipelineContext,
  attempt: Attempt,
  inputs: Inputs,
  draft: Version,
  folder: string,
): Promise<Record<string, number>> {
  if (!inputs.validation) return {};
  await enter(attempt, Stage.EVALUATE);
  const options = { identity: attempt.identity, signal: attempt.signal };
  const datasetFolder = await attempt.patiently(() => context.registry.folder(inputs.validation!, options));
  return evaluateJob(attempt, {
    replicas: context.replicas,
    base: inputs.base,
    adapter: draft.ref,
    modelFolder: inputs.modelFolder,
    datasetFolder,
    answersFolder: folder,
    concurrency: context.config.evaluationConcurrency,
  });
}

async function register(
  { registry }: PipelineContext,
  attempt: Attempt,
  draft: Version,
  metrics: Record<string, number>,
  lineage: Lineage,
): Promise<void> {
  await enter(attempt, Stage.REGISTER);
  const { id } = attempt.job;
  const options = { identity: attempt.identity };
  await attempt.patiently(() => registry.commit(draft, `job-commit-${id}`, metrics, lineage, options));
}

async function enter(attempt: Attempt, stage: Stage): Promise<void> {
  attempt.signal.throwIfAborted();
  enterStage(attempt.progress, stage);
  await attempt.report();
}
