import { float16Checkpoint, float32Checkpoint } from '@landfall/graph/checkpoint/checkpoint.ts';
import { CheckpointError } from '@landfall/graph/checkpoint/errors.ts';
import type { NamedTensor } from '@landfall/graph/checkpoint/safetensors.ts';
import { float32Llava } from '@landfall/graph/checkpoint/vision.ts';
import type { Provider } from '@landfall/graph/onnx/provider.ts';
import { parameterCounts, type TrainableSpec } from '@landfall/graph/training/methods.ts';
import { TrainingGraph } from '@landfall/graph/training/trainer.ts';
import { randomOf } from '@landfall/metrics/random.ts';
import { type Base, openBase } from './base.ts';
import { brokenBase } from './broken-weights.ts';
import { TrainingError } from './errors.ts';
import { type AsInput, withImages, withoutImages } from './images.ts';
import { initialParameters } from './initial.ts';
import type { TrainingTask } from './task.ts';

/** A model that is ready to be trained. */
export interface OpenedGraph {
  graph: TrainingGraph;
  asInput: AsInput;
  counts: { trainable: number; total: number };
  /** What trains, as a run begins with it. @throws TrainingError for an earlier adapter that can't be gone on from */
  initial(): Map<string, NamedTensor>;
  /** Why the first step came to nothing, where the base itself is the reason. */
  broken(): TrainingError | undefined;
}

/** @throws TrainingError for a base that can't be trained as the task says */
export async function openGraph(
  task: TrainingTask,
  spec: TrainableSpec,
  maxLength: number,
  provider: Provider,
): Promise<OpenedGraph> {
  try {
    const base = openBase(task.modelFolder);
    const precision = precisionOf(task, provider);
    const stored = precision === 'float16' ? float16Checkpoint : float32Checkpoint;
    const { llava } = base;
    const sight =
      llava && task.sight
        ? { ...task.sight, checkpoint: float32Llava(llava, task.weightCacheFolder) }
        : undefined;
    const graph = await TrainingGraph.create(stored(base.language, task.weightCacheFolder), spec, {
      threads: task.threads,
      maxLength,
      forwardPrecision: precision,
      provider,
      ...(task.checkpointing === undefined ? {} : { checkpointing: task.checkpointing }),
      ...(sight ? { sight } : {}),
    });
    return {
      graph,
      asInput: llava ? withImages(llava) : withoutImages,
      counts: countsOf(base, spec, graph),
      initial: () => beginning(base, spec, task),
      broken: () => brokenBase([base.language, ...(llava ? [llava.tower, llava.projector] : [])]),
    };
  } catch (error) {
    if (error instanceof CheckpointError)
      throw new TrainingError('model', `the base can't be trained: ${error.message}`);
    throw error;
  }
}

export const precisionOf = ({ forwardPrecision }: TrainingTask, provider: Provider) =>
  forwardPrecision !== 'auto' ? forwardPrecision : provider === 'cuda' ? 'float16' : 'float32';

function countsOf({ language, llava }: Base, spec: TrainableSpec, graph: TrainingGraph) {
  const size = (shape: readonly number[]) => shape.reduce((product, n) => product * n, 1);
  const sum = (shapes: Iterable<readonly number[]>) =>
    [...shapes].reduce((all, shape) => all + size(shape), 0);
  const seen = llava ? [...llava.tower.tensors.values(), ...llava.projector.tensors.values()] : [];
  return {
    trainable: sum(graph.shapes.values()),
    total: parameterCounts(language.config, spec).total + sum(seen.map(({ shape }) => shape)),
  };
}

function beginning(base: Base, spec: TrainableSpec, { sight, seed, adapterFolder }: TrainingTask) {
  try {
    return initialParameters(base, spec, randomOf(seed, 'adapter'), sight, adapterFolder);
  } catch (error) {
    if (error instanceof CheckpointError)
      throw new TrainingError('model', `training can't begin with these weights: ${error.message}`);
    throw error;
  }
}
