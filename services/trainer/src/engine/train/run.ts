import { totalmem } from 'node:os';
import {
  type Checkpoint,
  float16Checkpoint,
  float32Checkpoint,
  openCheckpoint,
} from '@landfall/graph/checkpoint/checkpoint.ts';
import { CheckpointError } from '@landfall/graph/checkpoint/errors.ts';
import { cudaUnavailable, type Provider } from '@landfall/graph/onnx/provider.ts';
import { LossScale } from '@landfall/graph/training/loss-scale.ts';
import { parameterCounts } from '@landfall/graph/training/methods.ts';
import { AdamW } from '@landfall/graph/training/optimizer.ts';
import { scheduleFactor } from '@landfall/graph/training/schedule.ts';
import { TrainingGraph } from '@landfall/graph/training/trainer.ts';
import { randomOf } from '@landfall/metrics/random.ts';
import type { Sequence } from '../data/encode.ts';
import { batchesOfStep, epochAt, type Plan, stepsPerEpoch, templateOf, totalSteps } from '../data/sampler.ts';
import { brokenWeight } from './broken-weights.ts';
import { CheckpointStore, type TrainingState } from './checkpoint.ts';
import { isDiskFull, TrainingError } from './errors.ts';
import { initialParameters } from './initial.ts';
import { type PreparedData, prepareData } from './prepare.ts';
import { Rate } from './rate.ts';
import { replayedRow, replayRows } from './replay.ts';
import { optimiserStep } from './step.ts';
import { fingerprint, type TrainingEvent, type TrainingResult, type TrainingTask } from './task.ts';
import { bestLook, outOfPatience, validationLoss } from './validation.ts';

/** Steps whose numbers a checkpoint keeps. */
const HISTORY = 2000;
const ADAM = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };
/** Norms and biases do not decay, as in transformers' Trainer. */
const NO_DECAY = /norm\.weight$|\.bias$/;

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
  const { modelFolder, templates, maxLength } = task;
  const read = (datasetFolder: string) => prepareData({ modelFolder, templates, maxLength, datasetFolder });
  const own = await read(task.datasetFolder);
  const earlier: PreparedData['rows'] = [];
  for (const folder of task.replay?.folders ?? []) earlier.push(...(await read(folder)).rows);
  const looked = task.validation ? (await read(task.validation.datasetFolder)).rows.map(first) : [];
  const rows = [...own.rows, ...earlier];
  const drawn = replayRows(own.rows.length, earlier.length, task.replay?.share ?? 0);
  const replay = { own: own.rows.length, earlier: earlier.length, drawn, seed: task.seed };
  const plan: Plan = {
    rows: own.rows.length + drawn,
    epochs: task.epochs,
    batchSize: task.batchSize,
    gradientAccumulationSteps: task.gradientAccumulationSteps,
    seed: task.seed,
  };
  const steps = totalSteps(plan);
  const provider = await chooseProvider(task, report);
  const { graph, initial, broken } = await openGraph(task, longest([...rows, looked]), provider);
  try {
    const store = new CheckpointStore(task.checkpointFolder, fingerprint(task));
    const state = (await store.latest()) ?? initial();
    const adam = new AdamW(
      state.parameters,
      { ...ADAM, weightDecay: task.weightDecay, noDecay: (name) => NO_DECAY.test(name) },
      state.step > 0 ? state.adam : undefined,
    );
    state.adam = adam.state;
    const lossScale = graph.isHalf ? new LossScale(state.lossScale) : undefined;
    if (lossScale) state.lossScale = lossScale.state;
    const counts = parameterCounts(graph.config, task.spec);
    report({
      type: 'prepared',
      rows: own.rows.length,
      replayed: drawn,
      issues: own.report.summary(),
      totalSteps: steps,
      resumedAt: state.step,
      trainableParameters: counts.trainable,
      totalParameters: counts.total,
      executionProvider: provider,
      precision: precisionOf(task, provider),
    });
    if (state.history.length > 0) report({ type: 'history', points: state.history, looks: state.looks });

    const sequencesOf = (step: number) => {
      const { epoch, batches } = batchesOfStep(plan, step);
      return batches.map((batch) =>
        [...batch].map((index) => {
          const row = replayedRow(replay, index, epoch);
          const variants = rows[row]!;
          return asInput(variants[templateOf(task.seed, variants.length, row, epoch)]!);
        }),
      );
    };
    const tokensOf = (sequences: ReturnType<typeof sequencesOf>) =>
      sequences.flat().reduce((sum, { ids }) => sum + ids.length, 0);
    let trainedTokens = 0;
    for (let step = 0; step < state.step; step++) trainedTokens += tokensOf(sequencesOf(step));
    const rate = new Rate();
    let memoryBytes = process.memoryUsage.rss();
    if (state.step === 0 && !stop()) await measure();

    const every = task.checkpointSteps || stepsPerEpoch(plan);
    const lookEvery = task.validation?.everySteps || stepsPerEpoch(plan);
    const patience = task.validation?.patience ?? 0;
    let saved = state.step;
    const save = async () => {
      if (saved === state.step) return;
      await store.save(state).catch((error) => {
        if (!isDiskFull(error)) throw error;
        const step = state.step;
        throw new TrainingError('disk', `the disk is full: the checkpoint of step ${step} was not written`);
      });
      saved = state.step;
      report({ type: 'checkpoint', step: saved });
    };
    while (state.step < steps && !outOfPatience(state.looks, patience) && !stop()) {
      const sequences = sequencesOf(state.step);
      const factor = scheduleFactor(task.schedule, state.step, steps, task.warmupSteps);
      const learningRate = task.learningRate * factor;
      const startMs = performance.now();
      const { losses, gradNorm } = await optimiserStep(graph, sequences, state.parameters, adam, {
        learningRate,
        maxGradNorm: task.maxGradNorm,
        ...(lossScale ? { lossScale } : {}),
        seedOf: (batch) => Math.floor(randomOf(task.seed, 'dropout', state.step, batch)() * 2 ** 32),
      });
      const loss = losses.reduce((sum, value) => sum + value, 0) / losses.length;
      if (!Number.isFinite(loss) || !Number.isFinite(gradNorm))
        throw (state.step === 0 && broken()) || diverged(state.step + 1, learningRate, loss, graph.isHalf);
      state.step++;
      const tokens = tokensOf(sequences);
      trainedTokens += tokens;
      rate.add((performance.now() - startMs) / 1000, tokens);
      memoryBytes = Math.max(memoryBytes, process.memoryUsage.rss());
      const point = { step: state.step, epoch: epochAt(plan, state.step), loss, learningRate };
      state.history.push(point);
      if (state.history.length > HISTORY) state.history.shift();
      report({
        type: 'step',
        ...point,
        totalSteps: steps,
        gradNorm,
        lossScale: lossScale?.state.scale ?? 0,
        tokensPerSecond: rate.tokensPerSecond(),
        remainingSeconds: rate.remaining(steps - state.step),
        tokens: trainedTokens,
        memoryBytes,
      });
      if (looked.length > 0 && (state.step % lookEvery === 0 || state.step === steps)) await look();
      if (state.step % every === 0) await save();
    }
    await save();
    const early = state.step < steps && outOfPatience(state.looks, patience);
    return {
      finished: state.step >= steps || early,
      stoppedEarly: early ? whyEarly() : '',
      state,
      parameters: state.best ?? state.parameters,
    };

    /** One step over as many rows as a micro-batch holds, the longest ones: the run's peak, and its pace. */
    async function measure(): Promise<void> {
      const longestRows = rows
        .map((variants) => variants.reduce((a, b) => (b.inputIds.length > a.inputIds.length ? b : a)))
        .sort((a, b) => b.inputIds.length - a.inputIds.length)
        .slice(0, task.batchSize);
      const startMs = performance.now();
      await graph.step(longestRows.map(asInput), state.parameters);
      const stepSeconds = (performance.now() - startMs) / 1000;
      memoryBytes = process.memoryUsage.rss();
      const measured = longestRows.reduce((sum, { inputIds }) => sum + inputIds.length, 0);
      const all = own.rows.reduce((sum, variants) => sum + variants[0]!.inputIds.length, 0) / own.rows.length;
      const estimatedSeconds = (stepSeconds / measured) * all * plan.rows * plan.epochs;
      report({ type: 'measured', stepSeconds, estimatedSeconds, memoryBytes });
      if (memoryBytes > task.memoryBytes) throw tooLarge(task, memoryBytes, longestRows[0]!.inputIds.length);
    }

    /** Looks at the validation rows, and keeps the weights where they are the best so far. */
    async function look(): Promise<void> {
      const loss = await validationLoss(graph, looked, state.parameters, task.batchSize);
      const seen = { step: state.step, epoch: epochAt(plan, state.step), loss };
      state.looks.push(seen);
      report({ type: 'look', ...seen });
      if (!task.validation?.keepBest) return;
      if (bestLook(state.looks) === seen) {
        state.best = new Map(
          [...state.parameters].map(([name, { shape, data }]) => [name, { shape, data: data.slice() }]),
        );
      }
    }

    function whyEarly(): string {
      const best = bestLook(state.looks)!;
      return (
        `the validation loss has not fallen below the ${best.loss.toFixed(4)} of step ${best.step} in ` +
        `${patience} looks; ended at step ${state.step} of ${steps}`
      );
    }
  } finally {
    await graph.release();
  }
}

const first = ([sequence]: Sequence[]): Sequence => sequence!;
const asInput = ({ inputIds, labels }: Sequence) => ({ ids: inputIds, labels });

async function chooseProvider(task: TrainingTask, report: (event: TrainingEvent) => void): Promise<Provider> {
  if (task.executionProvider === 'cpu') return 'cpu';
  const reason = await cudaUnavailable();
  if (reason === undefined) return 'cuda';
  if (task.executionProvider === 'cuda')
    report({
      type: 'warning',
      message: `CUDA was asked for and is not there, so the CPU computes: ${reason}`,
    });
  return 'cpu';
}

async function openGraph(task: TrainingTask, maxLength: number, provider: Provider) {
  try {
    const checkpoint = openCheckpoint(task.modelFolder);
    const precision = precisionOf(task, provider);
    const stored = precision === 'float16' ? float16Checkpoint : float32Checkpoint;
    const graph = await TrainingGraph.create(stored(checkpoint, task.weightCacheFolder), task.spec, {
      threads: task.threads,
      maxLength,
      forwardPrecision: precision,
      provider,
      ...(task.checkpointing === undefined ? {} : { checkpointing: task.checkpointing }),
    });
    const initial = (): TrainingState => ({
      step: 0,
      parameters: beginning(checkpoint, task),
      adam: { step: 0, first: new Map(), second: new Map() },
      history: [],
      looks: [],
    });
    /** Why the first step came to nothing, where the base itself is the reason. */
    const broken = () => {
      const name = brokenWeight(checkpoint);
      return name === undefined
        ? undefined
        : new TrainingError(
            'model',
            `the base can't be trained: tensor ${name} holds a value that is not a finite number`,
          );
    };
    return { graph, initial, broken };
  } catch (error) {
    if (error instanceof CheckpointError)
      throw new TrainingError('model', `the base can't be trained: ${error.message}`);
    throw error;
  }
}

const precisionOf = ({ forwardPrecision }: TrainingTask, provider: Provider) =>
  forwardPrecision !== 'auto' ? forwardPrecision : provider === 'cuda' ? 'float16' : 'float32';

/** @throws TrainingError for an earlier adapter that can't be gone on from */
function beginning(checkpoint: Checkpoint, { spec, seed, adapterFolder }: TrainingTask) {
  try {
    return initialParameters(checkpoint, spec, randomOf(seed, 'adapter'), adapterFolder);
  } catch (error) {
    if (error instanceof CheckpointError)
      throw new TrainingError('model', `training can't begin with these weights: ${error.message}`);
    throw error;
  }
}

function diverged(step: number, learningRate: number, loss: number, isHalf: boolean): TrainingError {
  const what = Number.isFinite(loss) ? 'the gradients overflow' : `the loss is ${loss}`;
  const wider = isHalf ? ', or have it computed in float32 (forward_precision)' : '';
  return new TrainingError(
    'diverged',
    `the run diverged: ${what} at step ${step} with learning rate ${learningRate.toPrecision(3)}; lower the learning ` +
      `rate or lora_alpha, or warm up over more steps${wider}. Checkpoints before it are kept`,
  );
}

function tooLarge(task: TrainingTask, memoryBytes: number, length: number): TrainingError {
  const mib = (bytes: number) => `${Math.ceil(bytes / 2 ** 20)} MiB`;
  const ways = [
    ...(task.checkpointing || task.spec.method === 'qlora' ? [] : ['gradient_checkpointing']),
    ...(task.batchSize > 1
      ? [`batch_size ${Math.ceil(task.batchSize / 2)} with twice the gradient_accumulation_steps`]
      : []),
    `a max_length below the longest row's ${length} tokens`,
    ...(task.spec.method === 'qlora' ? [] : ['method qlora']),
  ];
  return new TrainingError(
    'memory',
    `one step over the longest rows takes ${mib(memoryBytes)}, and ${mib(Math.min(task.memoryBytes, totalmem()))} ` +
      `may be used; what needs less: ${ways.join(', ')}`,
  );
}

function longest(rows: readonly (readonly { inputIds: Int32Array }[])[]): number {
  let most = 1;
  for (const variants of rows) for (const { inputIds } of variants) most = Math.max(most, inputIds.length);
  return most;
}
