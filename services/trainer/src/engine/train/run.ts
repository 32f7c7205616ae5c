import { totalmem } from 'node:os';
import { cudaUnavailable, type Provider } from '@landfall/graph/onnx/provider.ts';
import { LossScale } from '@landfall/graph/training/loss-scale.ts';
import { AdamW } from '@landfall/graph/training/optimizer.ts';
import { scheduleFactor } from '@landfall/graph/training/schedule.ts';
import { randomOf } from '@landfall/metrics/random.ts';
import { openAlignment } from '../align/alignment.ts';
import { CheckpointStore, type TrainingState } from './checkpoint.ts';
import { openDecoder } from './decoder.ts';
import { isDiskFull, TrainingError } from './errors.ts';
import { Rate } from './rate.ts';
import { optimiserStep } from './step.ts';
import { fingerprint, type TrainingEvent, type TrainingResult, type TrainingTask } from './task.ts';
import type { MicroBatch, Trainee } from './trainee.ts';
import { bestLook, outOfPatience } from './validation.ts';

/** Steps whose numbers a checkpoint keeps. */
const HISTORY = 2000;
/** A micro-batch knows how it is computed. */
const BY_ITSELF = { step: (batch: MicroBatch, ...how: Parameters<MicroBatch>) => batch(...how) };

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
  const trainee = await openTrainee(task, report);
  const { steps, stepsPerEpoch } = trainee;
  const epochAt = (step: number) => step / stepsPerEpoch;
  try {
    const store = new CheckpointStore(task.checkpointFolder, fingerprint(task));
    const state = (await store.latest()) ?? begin(trainee);
    const adam = new AdamW(
      state.parameters,
      { ...trainee.adam, weightDecay: task.weightDecay },
      state.step > 0 ? state.adam : undefined,
    );
    state.adam = adam.state;
    const lossScale = trainee.isHalf ? new LossScale(state.lossScale) : undefined;
    if (lossScale) state.lossScale = lossScale.state;
    report({
      type: 'prepared',
      ...trainee.data,
      totalSteps: steps,
      resumedAt: state.step,
      trainableParameters: trainee.counts.trainable,
      totalParameters: trainee.counts.total,
      executionProvider: trainee.provider,
      precision: trainee.precision,
    });
    if (state.history.length > 0) report({ type: 'history', points: state.history, looks: state.looks });

    let trainedTokens = 0;
    for (let step = 0; step < state.step; step++) trainedTokens += trainee.batchesOf(step).tokens;
    const rate = new Rate();
    let memoryBytes = process.memoryUsage.rss();
    if (state.step === 0 && !stop()) await measure();

    const every = task.checkpointSteps || stepsPerEpoch;
    const lookEvery = task.validation?.everySteps || stepsPerEpoch;
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
      const { batches, tokens, rows } = trainee.batchesOf(state.step);
      const factor = scheduleFactor(task.schedule, state.step, steps, task.warmupSteps);
      const learningRate = task.learningRate * factor;
      const startMs = performance.now();
      const { losses, gradNorm } = await optimiserStep(BY_ITSELF, batches, state.parameters, adam, {
        learningRate,
        maxGradNorm: task.maxGradNorm,
        ...(lossScale ? { lossScale } : {}),
        seedOf: (batch) => Math.floor(randomOf(task.seed, 'dropout', state.step, batch)() * 2 ** 32),
      });
      const loss = losses.reduce((sum, value) => sum + value, 0) / losses.length;
      if (!Number.isFinite(loss) || !Number.isFinite(gradNorm))
        throw (
          (state.step === 0 && trainee.broken()) ||
          diverged(state.step + 1, learningRate, loss, trainee.isHalf)
        );
      trainee.bound(state.parameters);
      state.step++;
      trainedTokens += tokens;
      rate.add((performance.now() - startMs) / 1000, tokens, rows);
      memoryBytes = Math.max(memoryBytes, process.memoryUsage.rss());
      const point = { step: state.step, epoch: epochAt(state.step), loss, learningRate };
      state.history.push(point);
      if (state.history.length > HISTORY) state.history.shift();
      report({
        type: 'step',
        ...point,
        totalSteps: steps,
        gradNorm,
        lossScale: lossScale?.state.scale ?? 0,
        tokensPerSecond: rate.tokensPerSecond(),
        rowsPerSecond: rate.rowsPerSecond(),
        remainingSeconds: rate.remaining(steps - state.step),
        tokens: trainedTokens,
        memoryBytes,
      });
      if (trainee.validationLoss && (state.step % lookEvery === 0 || state.step === steps)) await look();
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

    /** One step over the largest micro-batch: the run's peak, and its pace. */
    async function measure(): Promise<void> {
      const { batch, share } = trainee.largest();
      const startMs = performance.now();
      await batch(state.parameters, 0);
      const stepSeconds = (performance.now() - startMs) / 1000;
      memoryBytes = process.memoryUsage.rss();
      report({ type: 'measured', stepSeconds, estimatedSeconds: stepSeconds / share, memoryBytes });
      if (memoryBytes > task.memoryBytes) throw tooLarge(task, memoryBytes, trainee.leaner());
    }

    /** Looks at the validation rows, and keeps the weights where they are the best so far. */
    async function look(): Promise<void> {
      const loss = await trainee.validationLoss!(state.parameters);
      const seen = { step: state.step, epoch: epochAt(state.step), loss };
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
    await trainee.release();
  }
}

/** Opens what a task trains, whichever kind of model it is. */
async function openTrainee(task: TrainingTask, report: (event: TrainingEvent) => void): Promise<Trainee> {
  const provider = await chooseProvider(task, report);
  const { spec } = task;
  return spec.method === 'align' ? openAlignment(task, spec, provider) : openDecoder(task, spec, provider);
}

const begin = (trainee: Trainee): TrainingState => ({
  step: 0,
  parameters: trainee.initial(),
  adam: { step: 0, first: new Map(), second: new Map() },
  history: [],
  looks: [],
});

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

function diverged(step: number, learningRate: number, loss: number, isHalf: boolean): TrainingError {
  const what = Number.isFinite(loss) ? 'the gradients overflow' : `the loss is ${loss}`;
  const wider = isHalf ? ', or have it computed in float32 (forward_precision)' : '';
  return new TrainingError(
    'diverged',
    `the run diverged: ${what} at step ${step} with learning rate ${learningRate.toPrecision(3)}; lower the learning ` +
      `rate or lora_alpha, or warm up over more steps${wider}. Checkpoints before it are kept`,
  );
}

function tooLarge(task: TrainingTask, memoryBytes: number, ways: readonly string[]): TrainingError {
  const mib = (bytes: number) => `${Math.ceil(bytes / 2 ** 20)} MiB`;
  return new TrainingError(
    'memory',
    `one step over the longest rows takes ${mib(memoryBytes)}, and ${mib(Math.min(task.memoryBytes, totalmem()))} ` +
      `may be used; what needs less: ${ways.join(', ')}`,
  );
}
