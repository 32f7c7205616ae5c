import { totalmem } from 'node:os';
import path from 'node:path';
import {
  ExecutionProvider,
  ForwardPrecision,
  type TrainingConfig,
} from '@landfall/proto/landfall/trainer/v1/job_pb.js';
import type { WorkerConfig } from '../config.ts';
import { scheduleOf } from '../domain/training-spec.ts';
import type { TrainingTask } from '../engine/train/task.ts';
import type { Attempt } from './attempt.ts';
import type { Inputs } from './pipeline.ts';

const PROVIDERS = {
  [ExecutionProvider.UNSPECIFIED]: 'auto',
  [ExecutionProvider.CPU]: 'cpu',
  [ExecutionProvider.CUDA]: 'cuda',
} as const;
const PRECISIONS = {
  [ForwardPrecision.UNSPECIFIED]: 'auto',
  [ForwardPrecision.FLOAT32]: 'float32',
  [ForwardPrecision.INT8]: 'int8',
} as const;

/** A job's run, from its inputs and settings. @param folder of the job */
export function taskOf(config: WorkerConfig, attempt: Attempt, inputs: Inputs, folder: string): TrainingTask {
  const { replay, config: given } = attempt.job.spec!;
  const settings = given as TrainingConfig;
  const versions = [inputs.base, inputs.train, inputs.validation, inputs.from, ...inputs.replay];
  return {
    modelFolder: inputs.modelFolder,
    datasetFolder: inputs.datasetFolder,
    checkpointFolder: path.join(folder, 'checkpoints'),
    weightCacheFolder: path.join(config.home, 'cache', 'weights'),
    identity: versions.map((version) => version?.digest ?? '').join(' '),
    threads: config.threads,
    spec: inputs.spec,
    ...(inputs.sight ? { sight: inputs.sight } : {}),
    ...(inputs.adapterFolder ? { adapterFolder: inputs.adapterFolder } : {}),
    learningRate: settings.learningRate,
    schedule: scheduleOf(settings),
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
    ...(replay ? { replay: { folders: inputs.replayFolders, share: replay.share } } : {}),
    ...(inputs.validationFolder
      ? {
          validation: {
            datasetFolder: inputs.validationFolder,
            everySteps: settings.evaluationSteps,
            patience: settings.earlyStoppingPatience,
            keepBest: settings.keepBest,
          },
        }
      : {}),
    checkpointing: settings.gradientCheckpointing,
    forwardPrecision: PRECISIONS[settings.forwardPrecision],
    executionProvider: PROVIDERS[settings.executionProvider],
    memoryBytes: config.memoryBytes || totalmem(),
  };
}
