import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { create } from '@bufbuild/protobuf';
import type { Logger } from '@landfall/common/log/logger.ts';
import type { SightSpec } from '@landfall/graph/training/sight.ts';
import {
  Kind,
  type Lineage,
  LineageSchema,
  type Version,
  VersionState,
} from '@landfall/proto/landfall/registry/v1/model_pb.js';
import { Stage } from '@landfall/proto/landfall/trainer/v1/job_pb.js';
import type { RegistryGateway } from '../clients/registry.ts';
import type { ReplicaPool } from '../clients/replicas.ts';
import type { WorkerConfig } from '../config.ts';
import { readBaseShape } from '../domain/base-model.ts';
import { methodName, runSpec } from '../domain/training-spec.ts';
import {
  ADAPTER_FOLDER,
  LAST_FILE,
  type OutputKind,
  outputFiles,
  outputKind,
} from '../engine/train/output.ts';
import type { RunSpec, TrainingEvent } from '../engine/train/task.ts';
import { runInThread } from '../engine/train/thread.ts';
import type { Attempt } from './attempt.ts';
import { evaluateAlignment } from './evaluate-alignment.ts';
import { evaluateJob } from './evaluate-job.ts';
import { enterStage, within } from './progress.ts';
import { taskOf } from './training-task.ts';

/** What an attempt works with. */
export interface PipelineContext {
  config: WorkerConfig;
  logger: Logger;
  registry: RegistryGateway;
  replicas: ReplicaPool;
}

/** What a job is made from, on the local disk. */
export interface Inputs {
  base: Version;
  train: Version;
  validation: Version | undefined;
  /** Earlier training sets whose rows are mixed in. */
  replay: Version[];
  /** The tuned version that the run goes on from. */
  from: Version | undefined;
  modelFolder: string;
  datasetFolder: string;
  validationFolder: string;
  replayFolders: string[];
  /** Of an earlier adapter; empty where there is none. */
  adapterFolder: string;
  spec: RunSpec;
  sight: SightSpec | undefined;
  output: OutputKind;
}

/**
 * Runs a job from its first unfinished stage to its registered version. Every stage may be run again: what it leaves
 * behind is found by the job's id.
 *
 * @throws AttemptStopped, TrainingError, or a service's refusal
 */
export async function runPipeline(context: PipelineContext, attempt: Attempt): Promise<void> {
  const folder = jobFolder(context.config, attempt.job.id);
  const inputs = await download(context, attempt);
  const outputFolder = path.join(folder, 'output');
  await train(context, attempt, inputs, folder, outputFolder);
  const lineage = lineageOf(attempt, inputs);
  const draft = await upload(context, attempt, inputs, outputFolder, lineage);
  const metrics = await evaluate(context, attempt, inputs, draft, folder);
  await register(context, attempt, draft, metrics, lineage);
}

/** Checkpoints and answers of a job; kept when it fails, removed when its version is registered. */
export function jobFolder(config: WorkerConfig, jobId: string): string {
  return path.join(config.home, 'jobs', jobId);
}

async function download({ registry }: PipelineContext, attempt: Attempt): Promise<Inputs> {
  await enter(attempt, Stage.DOWNLOAD);
  const { baseModel, trainDataset, evaluation, replay, fromVersion, method, config } = attempt.job.spec!;
  const options = { identity: attempt.identity, signal: attempt.signal };
  const find = (ref: string, kind: Kind, field: string) =>
    attempt.patiently(() => registry.ready(ref, kind, field, options));
  const fetch = (version: Version) => attempt.patiently(() => registry.folder(version, options));
  const base = await find(baseModel, Kind.BASE, 'base_model');
  const train = await find(trainDataset, Kind.DATASET, 'train_dataset');
  const set = evaluation?.dataset ?? '';
  const validation = set === '' ? undefined : await find(set, Kind.DATASET, 'evaluation.dataset');
  const earlier: Version[] = [];
  for (const ref of replay?.datasets ?? []) earlier.push(await find(ref, Kind.DATASET, 'replay.datasets'));
  const from =
    fromVersion === ''
      ? undefined
      : await attempt.patiently(() => registry.version(fromVersion, 'from_version', options));
  const modelFolder = await fetch(base);
  const shape = readBaseShape(JSON.parse(readFileSync(path.join(modelFolder, 'config.json'), 'utf8')));
  const { spec, sight } = runSpec(methodName(method), config!, shape);
  const replayFolders: string[] = [];
  for (const version of earlier) replayFolders.push(await fetch(version));
  return {
    base,
    train,
    validation,
    replay: earlier,
    from,
    modelFolder,
    datasetFolder: await fetch(train),
    validationFolder: validation ? await fetch(validation) : '',
    replayFolders,
    adapterFolder: from?.kind === Kind.ADAPTER ? await fetch(from) : '',
    spec,
    sight,
    output: outputKind(spec, sight),
  };
}

async function train(
  { config, logger }: PipelineContext,
  attempt: Attempt,
  inputs: Inputs,
  folder: string,
  outputFolder: string,
): Promise<void> {
  let stoppedEarly = '';
  // The configuration is written last: where it is, training has ended.
  if (!existsSync(path.join(outputFolder, LAST_FILE[inputs.output]))) {
    await enter(attempt, Stage.PREPARE);
    const end = await runInThread({
      task: taskOf(config, attempt, inputs, folder),
      outputFolder,
      baseName: inputs.base.ref,
      onEvent: (event) => note(attempt, logger, event),
      signal: attempt.signal,
    });
    if (!end.finished) attempt.signal.throwIfAborted();
    stoppedEarly = end.stoppedEarly;
  }
  await attempt.report({ trained: true, ...(stoppedEarly ? { stoppedEarly } : {}) });
}

function note(attempt: Attempt, logger: Logger, event: TrainingEvent): void {
  const { progress } = attempt;
  const jobId = attempt.job.id;
  switch (event.type) {
    case 'prepared': {
      enterStage(progress, Stage.TRAIN);
      progress.totalSteps = event.totalSteps;
      progress.step = event.resumedAt;
      progress.trainableParameters = BigInt(event.trainableParameters);
      progress.totalParameters = BigInt(event.totalParameters);
      progress.executionProvider = event.executionProvider;
      progress.precision = event.precision;
      const { rows, replayed, issues, resumedAt } = event;
      logger.info({ job_id: jobId, rows, replayed, issues, resumed_at: resumedAt }, 'training begins');
      if (issues !== '') attempt.warn(`the training set: ${issues}`);
      break;
    }
    case 'measured':
      progress.peakMemoryBytes = BigInt(event.memoryBytes);
      attempt.estimate(event.estimatedSeconds);
      break;
    case 'history':
      for (const point of event.points) attempt.addPoint(point);
      for (const look of event.looks) attempt.addLook(look);
      break;
    case 'step':
      progress.step = event.step;
      progress.epoch = event.epoch;
      progress.loss = event.loss;
      progress.learningRate = event.learningRate;
      progress.lossScale = event.lossScale;
      progress.tokensPerSecond = event.tokensPerSecond;
      progress.rowsPerSecond = event.rowsPerSecond;
      progress.tokens = BigInt(event.tokens);
      progress.remainingSeconds = event.remainingSeconds;
      progress.peakMemoryBytes = BigInt(event.memoryBytes);
      within(progress, event.step / event.totalSteps);
      attempt.addPoint(event);
      break;
    case 'look':
      progress.evaluationLoss = event.loss;
      attempt.addLook(event);
      break;
    case 'warning':
      attempt.warn(event.message);
      break;
  }
}

function lineageOf(attempt: Attempt, { base, train, validation, replay, from }: Inputs): Lineage {
  const reference = ({ ref, digest }: Version, role: string) => ({ ref, digest, role });
  return create(LineageSchema, {
    base: base.ref,
    parent: from?.ref ?? '',
    datasets: [
      reference(train, 'train'),
      ...replay.map((version) => reference(version, 'replay')),
      ...(validation ? [reference(validation, 'validation')] : []),
    ],
    jobId: attempt.job.id,
    method: methodName(attempt.job.spec!.method),
  });
}

async function upload(
  { registry }: PipelineContext,
  attempt: Attempt,
  inputs: Inputs,
  outputFolder: string,
  lineage: Lineage,
): Promise<Version> {
  await enter(attempt, Stage.UPLOAD);
  const { id, spec } = attempt.job;
  const { outputModel } = spec!;
  const options = { identity: attempt.identity };
  const kind = inputs.output === 'adapter' ? Kind.ADAPTER : Kind.BASE;
  await attempt.patiently(() =>
    registry.ensureModel(outputModel, kind, `tuned from ${spec!.baseModel}`, options),
  );
  // The same token gives the same draft, whichever attempt asks.
  const draft = await attempt.patiently(() =>
    registry.draft(outputModel, `job-${id}`, `job ${id}`, lineage, options),
  );
  const now = await attempt.patiently(() => registry.version(draft.ref, 'output_model', options));
  if (now.state === VersionState.DRAFT) {
    const own = outputFiles(inputs.spec, inputs.sight);
    const files = own.map((file) => ({ path: file, file: path.join(outputFolder, file) }));
    if (inputs.output === 'model') {
      // Tokenizer, templates and generation settings are the base's.
      const others = (inputs.base.manifest?.files ?? []).filter(
        (file) => !own.includes(file.path) && !isReplaced(file.path),
      );
      for (const { path: name } of others)
        files.push({ path: name, file: path.join(inputs.modelFolder, name) });
    }
    for (const source of files) await attempt.patiently(() => registry.upload(draft, source, options));
  }
  await attempt.report({ outputVersion: draft.ref });
  return draft;
}

/** Weights of the base, which the result replaces, and the adapter that it came of. */
const isReplaced = (file: string) =>
  /\.(safetensors|bin|pt|onnx|onnx_data)$|\.safetensors\.index\.json$/.test(file) ||
  file.startsWith(`${ADAPTER_FOLDER}/`);

async function evaluate(
  context: PipelineContext,
  attempt: Attempt,
  inputs: Inputs,
  draft: Version,
  folder: string,
): Promise<Record<string, number>> {
  const evaluation = attempt.job.spec!.evaluation;
  const measures =
    evaluation && (evaluation.dataset || evaluation.safety || evaluation.earlierDatasets.length > 0);
  if (!measures) return {};
  await enter(attempt, Stage.EVALUATE);
  if (inputs.spec.method === 'align') {
    const { config, registry } = context;
    return evaluateAlignment(attempt, {
      registry,
      base: inputs.base.ref,
      draft: draft.ref,
      modelFolder: inputs.modelFolder,
      outputFolder: path.join(folder, 'output'),
      weightCacheFolder: path.join(config.home, 'cache', 'weights'),
      threads: config.threads,
    });
  }
  return evaluateJob(attempt, {
    registry: context.registry,
    replicas: context.replicas,
    base: inputs.base,
    from: inputs.from,
    output: inputs.output,
    draft: draft.ref,
    modelFolder: inputs.modelFolder,
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
