import { createHash } from 'node:crypto';
import { float32Checkpoint, openCheckpoint } from '@landfall/graph/checkpoint/checkpoint.ts';
import { CheckpointError } from '@landfall/graph/checkpoint/errors.ts';
import { initialLora, type LoraConfig } from '@landfall/graph/training/lora.ts';
import { AdamW, linearSchedule } from '@landfall/graph/training/optimizer.ts';
import { TrainingGraph } from '@landfall/graph/training/trainer.ts';
import { totalParameters } from '../advice/parameters.ts';
import { batchesOfStep, epochAt, type Plan, stepsPerEpoch, templateOf, totalSteps } from '../data/sampler.ts';
import { randomOf } from '../random.ts';
import { CheckpointStore, type StepPoint, type TrainingState } from './checkpoint.ts';
import { isDiskFull, TrainingError } from './errors.ts';
import { prepareData } from './prepare.ts';
import { Rate } from './rate.ts';
import { optimiserStep } from './step.ts';

/** A LoRA run from a model's and a data set's folder. Plain data: it crosses threads. */
export interface TrainingTask {
  /** Hugging Face folder: config.json, weights, tokenizer. */
  modelFolder: string;
  /** Folder of `.json` and `.jsonl` files with rows of question and answer. */
  datasetFolder: string;
  /** Where checkpoints are kept and looked for. */
  checkpointFolder: string;
  /** Where weights that are stored in 16 bits are kept in 32. */
  weightCacheFolder: string;
  /** What base and data are, such as their digests: a checkpoint of another one is not resumed. */
  identity: string;
  /** Threads of one operation. The same number gives the same bits. */
  threads: number;
  rank: number;
  loraAlpha: number;
  targetModules: string[];
  learningRate: number;
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
}

/** What a run tells as it goes. */
export type TrainingEvent =
  | {
      type: 'prepared';
      rows: number;
      /** What was left out or cut, for people; empty when nothing. */
      issues: string;
      totalSteps: number;
      /** Steps that a checkpoint holds already. */
      resumedAt: number;
      trainableParameters: number;
      totalParameters: number;
    }
  /** On resuming: steps before, which may not have been heard of. */
  | { type: 'history'; points: StepPoint[] }
  | ({
      type: 'step';
      totalSteps: number;
      /** Before clipping. */
      gradNorm: number;
      tokensPerSecond: number;
      remainingSeconds: number;
    } & StepPoint)
  | { type: 'checkpoint'; step: number };

/** How a run ended. */
export interface TrainingResult {
  /** False when it was told to stop; it goes on from its checkpoint when it is started again. */
  finished: boolean;
  state: TrainingState;
  lora: LoraConfig;
}

/** Steps whose numbers a checkpoint keeps. */
const HISTORY = 2000;
const ADAM = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };

/**
 * Runs a task to its end, from its last checkpoint where it has one; the numbers are those of an unbroken run. Each
 * step blocks the thread that calls it.
 *
 * @param stop looked at between steps
 * @throws TrainingError for data, models and settings that can't work
 */
export async function runTraining(
  task: TrainingTask,
  report: (event: TrainingEvent) => void,
  stop: () => boolean,
): Promise<TrainingResult> {
  const data = await prepareData({ ...task });
  const plan: Plan = {
    rows: data.rows.length,
    epochs: task.epochs,
    batchSize: task.batchSize,
    gradientAccumulationSteps: task.gradientAccumulationSteps,
    seed: task.seed,
  };
  const steps = totalSteps(plan);
  const lora: LoraConfig = {
    r: task.rank,
    loraAlpha: task.loraAlpha,
    targetModules: task.targetModules,
    useRslora: false,
  };
  const graph = await openGraph(task, lora, longest(data.rows));
  try {
    const store = new CheckpointStore(task.checkpointFolder, fingerprint(task));
    const state = (await store.latest()) ?? initialState(graph, lora, task.seed);
    const adam = new AdamW(
      state.parameters,
      { ...ADAM, weightDecay: task.weightDecay },
      state.step > 0 ? state.adam : undefined,
    );
    state.adam = adam.state;
    report({
      type: 'prepared',
      rows: plan.rows,
      issues: data.report.summary(),
      totalSteps: steps,
      resumedAt: state.step,
      trainableParameters: count(state),
      totalParameters: totalParameters(graph.config),
    });

    if (state.history.length > 0) report({ type: 'history', points: state.history });
    const rate = new Rate();
    const every = task.checkpointSteps || stepsPerEpoch(plan);
    let saved = state.step;
    const save = async () => {
      if (saved === state.step) return;
      await store.save(state).catch((error) => {
        if (!isDiskFull(error)) throw error;
        throw new TrainingError(
          'disk',
          `the disk is full: the checkpoint of step ${state.step} was not written`,
        );
      });
      saved = state.step;
      report({ type: 'checkpoint', step: saved });
    };
    while (state.step < steps && !stop()) {
      const { epoch, batches } = batchesOfStep(plan, state.step);
      const sequences = batches.map((batch) =>
        [...batch].map((row) => {
          const variants = data.rows[row]!;
          const { inputIds, labels } = variants[templateOf(task.seed, variants.length, row, epoch)]!;
          return { ids: inputIds, labels };
        }),
      );
      const learningRate = task.learningRate * linearSchedule(state.step, steps, task.warmupSteps);
      const startMs = performance.now();
      const { losses, gradNorm } = await optimiserStep(graph, sequences, state.parameters, adam, {
        learningRate,
        maxGradNorm: task.maxGradNorm,
      });
      const loss = losses.reduce((sum, value) => sum + value, 0) / losses.length;
      if (!Number.isFinite(loss) || !Number.isFinite(gradNorm))
        throw diverged(state.step + 1, learningRate, loss);
      state.step++;
      const tokens = sequences.flat().reduce((sum, { ids }) => sum + ids.length, 0);
      rate.add((performance.now() - startMs) / 1000, tokens);
      const point = { step: state.step, epoch: epochAt(plan, state.step), loss, learningRate };
      state.history.push(point);
      if (state.history.length > HISTORY) state.history.shift();
      report({
        type: 'step',
        ...point,
        totalSteps: steps,
        gradNorm,
        tokensPerSecond: rate.tokensPerSecond(),
        remainingSeconds: rate.remaining(steps - state.step),
      });
      if (state.step % every === 0) await save();
    }
    await save();
    return { finished: state.step >= steps, state, lora };
  } finally {
    await graph.release();
  }
}

async function openGraph(task: TrainingTask, lora: LoraConfig, maxLength: number): Promise<TrainingGraph> {
  try {
    const checkpoint = float32Checkpoint(openCheckpoint(task.modelFolder), task.weightCacheFolder);
    const spec = { method: 'lora', lora } as const;
    return await TrainingGraph.create(checkpoint, spec, { threads: task.threads, maxLength });
  } catch (error) {
    if (error instanceof CheckpointError)
      throw new TrainingError('model', `the base can't be trained: ${error.message}`);
    throw error;
  }
}

function initialState(graph: TrainingGraph, lora: LoraConfig, seed: bigint): TrainingState {
  const parameters = initialLora(graph.config, lora, randomOf(seed, 'lora'));
  return { step: 0, parameters, adam: { step: 0, first: new Map(), second: new Map() }, history: [] };
}

/** Everything that the numbers depend on; where files lie is not part of it. */
function fingerprint(task: TrainingTask): string {
  const { modelFolder, datasetFolder, checkpointFolder, weightCacheFolder, checkpointSteps, ...rest } = task;
  const text = JSON.stringify(rest, (_key, value: unknown) =>
    typeof value === 'bigint' ? String(value) : value,
  );
  return createHash('sha256').update(text).digest('hex');
}

function diverged(step: number, learningRate: number, loss: number): TrainingError {
  const what = Number.isFinite(loss) ? 'the gradients overflow' : `the loss is ${loss}`;
  return new TrainingError(
    'diverged',
    `the run diverged: ${what} at step ${step} with learning rate ${learningRate.toPrecision(3)}; lower the learning ` +
      'rate or lora_alpha, or warm up over more steps. Checkpoints before it are kept',
  );
}

function longest(rows: readonly (readonly { inputIds: Int32Array }[])[]): number {
  let most = 1;
  for (const variants of rows) for (const { inputIds } of variants) most = Math.max(most, inputIds.length);
  return most;
}

function count({ parameters }: TrainingState): number {
  let sum = 0;
  for (const { data } of parameters.values()) sum += data.length;
  return sum;
}
