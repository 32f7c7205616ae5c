/** Runs of the engine alone, in this thread, on folders of a test. */

import { totalmem } from 'node:os';
import path from 'node:path';
import { runTraining } from '../src/engine/train/run.ts';
import type { TrainingEvent, TrainingTask } from '../src/engine/train/task.ts';

/** Adapters beside every linear layer. */
export const LORA = { r: 4, loraAlpha: 8, targetModules: ['all-linear'], useRslora: false };

let runs = 0;

/**
 * A task on `model` and `data` of a folder, with checkpoints of its own there: a run of the same task goes on from them.
 * @param own what it is about, and what else shall be different
 */
export const taskIn = (
  root: string,
  own: Partial<TrainingTask> & Pick<TrainingTask, 'spec' | 'learningRate' | 'epochs' | 'batchSize'>,
): TrainingTask => ({
  modelFolder: path.join(root, 'model'),
  datasetFolder: path.join(root, 'data'),
  checkpointFolder: path.join(root, `checkpoints-${++runs}`),
  weightCacheFolder: path.join(root, 'weights'),
  identity: 'tiny',
  threads: 1,
  schedule: 'linear',
  gradientAccumulationSteps: 1,
  warmupSteps: 0,
  weightDecay: 0.01,
  maxGradNorm: 1,
  maxLength: 64,
  seed: 7n,
  templates: [],
  checkpointSteps: 3,
  forwardPrecision: 'float32',
  executionProvider: 'cpu',
  memoryBytes: totalmem(),
  ...own,
});

type Step = TrainingEvent & { type: 'step' };
export const stepsOf = (events: readonly TrainingEvent[]): Step[] =>
  events.filter((event): event is Step => event.type === 'step');

/** Runs until `stopAfter` steps of this attempt, or to the end. */
export async function run(settings: TrainingTask, stopAfter = Number.POSITIVE_INFINITY) {
  const events: TrainingEvent[] = [];
  const result = await runTraining(
    settings,
    (event) => events.push(event),
    () => stepsOf(events).length >= stopAfter,
  );
  return { events, result };
}

/** All values of named tensors, in order of their names: equal where every bit is. */
export function bytes(tensors: ReadonlyMap<string, { data: Float32Array }>): Buffer {
  const sorted = [...tensors.keys()].sort().map((name) => tensors.get(name)!.data);
  return Buffer.concat(sorted.map((data) => Buffer.from(data.buffer, data.byteOffset, data.byteLength)));
}
