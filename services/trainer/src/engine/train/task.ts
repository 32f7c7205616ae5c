import { createHash } from 'node:crypto';
import type { ClipSpec } from '@landfall/graph/training/clip-spec.ts';
import type { TrainableSpec } from '@landfall/graph/training/methods.ts';
import type { Schedule } from '@landfall/graph/training/schedule.ts';
import type { SightSpec } from '@landfall/graph/training/sight.ts';
import type { StepPoint, TrainingState } from './checkpoint.ts';
import type { Look } from './validation.ts';

/** What a run trains: of a decoder, or of a CLIP. */
export type RunSpec = TrainableSpec | AlignmentSpec;

/** How a CLIP is aligned with pairs of image and caption. */
export interface AlignmentSpec {
  method: 'align';
  clip: ClipSpec;
  /** Each class comes as often as any other in an epoch. */
  balanced: boolean;
  /** Which images are changed a little. */
  augmentation: 'none' | 'repeated' | 'all';
  /** Left and right never change places. */
  keepSides: boolean;
}

/** A run from a model's and a data set's folder. Plain data: it crosses threads. */
export interface TrainingTask {
  /** Hugging Face folder: config.json, weights, tokenizer. */
  modelFolder: string;
  /** Folder of `.json` and `.jsonl` files with rows of question and answer, of messages, or of image and caption. */
  datasetFolder: string;
  /** Where checkpoints are kept and looked for. */
  checkpointFolder: string;
  /** Where weights that are stored in 16 bits are kept in 32. */
  weightCacheFolder: string;
  /** What base and data are, such as their digests: a checkpoint of another one is not resumed. */
  identity: string;
  /** Threads of one operation. The same number gives the same bits. */
  threads: number;
  /** What trains; of a model that reads images, of its decoder. */
  spec: RunSpec;
  /** What trains of that which a model that reads images sees with. */
  sight?: SightSpec;
  /** An earlier run's adapter to go on from, in peft's layout. */
  adapterFolder?: string;
  learningRate: number;
  schedule: Schedule;
  epochs: number;
  batchSize: number;
  gradientAccumulationSteps: number;
  warmupSteps: number;
  weightDecay: number;
  maxGradNorm: number;
  /** Tokens a row at most. */
  maxLength: number;
  seed: bigint;
  templates: string[];
  /** Steps between checkpoints; 0 means one each epoch. */
  checkpointSteps: number;
  /** Rows of earlier training sets, mixed in. */
  replay?: { folders: string[]; share: number };
  /** Rows whose loss is looked at on the way. */
  validation?: ValidationTask;
  /** Layers are computed again in the backward pass. Absent: as the method does. */
  checkpointing?: boolean;
  /** `auto` is float16 on CUDA, float32 on the CPU. */
  forwardPrecision: 'auto' | 'float32' | 'int8' | 'float16';
  /** `auto` takes CUDA where it is. */
  executionProvider: 'auto' | 'cpu' | 'cuda';
  /** Resident memory that may be used, in bytes. */
  memoryBytes: number;
}

export interface ValidationTask {
  datasetFolder: string;
  /** Steps between looks; 0 means one each epoch. */
  everySteps: number;
  /** Looks without a lower loss before the run ends; 0 never ends it. */
  patience: number;
  /** The result is the best look's weights, not the last ones. */
  keepBest: boolean;
}

/** What a run tells as it goes. */
export type TrainingEvent =
  | {
      type: 'prepared';
      rows: number;
      /** Rows of earlier sets an epoch. */
      replayed: number;
      /** What was left out or cut, for people; empty when nothing. */
      issues: string;
      totalSteps: number;
      /** Steps that a checkpoint holds already. */
      resumedAt: number;
      trainableParameters: number;
      totalParameters: number;
      executionProvider: 'cpu' | 'cuda';
      precision: 'float32' | 'int8' | 'float16';
    }
  | {
      type: 'measured';
      /** Of one step over the longest rows, before the first one counts. */
      stepSeconds: number;
      /** Estimate for the whole run. */
      estimatedSeconds: number;
      /** Resident memory after it, in bytes. */
      memoryBytes: number;
    }
  /** On resuming: steps before, which may not have been heard of. */
  | { type: 'history'; points: StepPoint[]; looks: Look[] }
  | ({
      type: 'step';
      totalSteps: number;
      /** Before clipping. */
      gradNorm: number;
      /** 0 where gradients are float32. */
      lossScale: number;
      tokensPerSecond: number;
      rowsPerSecond: number;
      remainingSeconds: number;
      /** Tokens since the first step, prompts and answers. */
      tokens: number;
      /** Resident memory at its highest so far, in bytes. */
      memoryBytes: number;
    } & StepPoint)
  | ({ type: 'look' } & Look)
  | { type: 'warning'; message: string }
  | { type: 'checkpoint'; step: number };

/** How a run ended. */
export interface TrainingResult {
  /** False when it was told to stop; it goes on from its checkpoint when it is started again. */
  finished: boolean;
  /** Why it ended before its last step; empty when it did not. */
  stoppedEarly: string;
  state: TrainingState;
  /** The result: the last step's weights, or the best look's. */
  parameters: TrainingState['parameters'];
}

/** Everything that the numbers depend on; where files lie and what is only watched is not part of it. */
export function fingerprint(task: TrainingTask): string {
  const { identity, threads, spec, learningRate, schedule, epochs, batchSize, warmupSteps, weightDecay } =
    task;
  const { gradientAccumulationSteps, maxGradNorm, maxLength, seed, templates, forwardPrecision } = task;
  const { executionProvider, checkpointing } = task;
  const parts = [
    [identity, threads, spec, learningRate, schedule, epochs, batchSize, warmupSteps, weightDecay],
    [gradientAccumulationSteps, maxGradNorm, maxLength, String(seed), templates, forwardPrecision],
    [executionProvider, checkpointing ?? null, task.replay?.share ?? 0, Boolean(task.adapterFolder)],
    task.sight ? [task.sight.projector, task.sight.towerLayers] : [],
    task.validation ? [task.validation.everySteps, task.validation.patience, task.validation.keepBest] : [],
  ];
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex');
}
