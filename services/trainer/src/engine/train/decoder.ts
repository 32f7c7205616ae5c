import type { Provider } from '@landfall/graph/onnx/provider.ts';
import type { TrainableSpec } from '@landfall/graph/training/methods.ts';
import type { Sequence } from '../data/encode.ts';
import { batchesOfStep, type Plan, stepsPerEpoch, templateOf, totalSteps } from '../data/sampler.ts';
import { openGraph, precisionOf } from './open-graph.ts';
import { type PreparedData, prepareData } from './prepare.ts';
import { replayedRow, replayRows } from './replay.ts';
import type { TrainingTask } from './task.ts';
import type { MicroBatch, Trainee } from './trainee.ts';
import { validationLoss } from './validation.ts';

/** Norms and biases do not decay, as in transformers' Trainer. */
const NO_DECAY = /norm\d?\.weight$|\.bias$/;
const ADAM = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, noDecay: (name: string) => NO_DECAY.test(name) };

/** A run over a decoder: rows of text, with images where it reads them. @throws TrainingError */
export async function openDecoder(
  task: TrainingTask,
  spec: TrainableSpec,
  provider: Provider,
): Promise<Trainee> {
  const { modelFolder, templates, maxLength, seed } = task;
  const read = (datasetFolder: string) => prepareData({ modelFolder, templates, maxLength, datasetFolder });
  const own = await read(task.datasetFolder);
  const earlier: PreparedData['rows'] = [];
  for (const folder of task.replay?.folders ?? []) earlier.push(...(await read(folder)).rows);
  const looked = task.validation ? (await read(task.validation.datasetFolder)).rows.map(first) : [];
  const rows = [...own.rows, ...earlier];
  const drawn = replayRows(own.rows.length, earlier.length, task.replay?.share ?? 0);
  const replay = { own: own.rows.length, earlier: earlier.length, drawn, seed };
  const plan: Plan = {
    rows: own.rows.length + drawn,
    epochs: task.epochs,
    batchSize: task.batchSize,
    gradientAccumulationSteps: task.gradientAccumulationSteps,
    seed,
  };
  const longestRow = longest([...rows, looked]);
  const opened = await openGraph(task, spec, longestRow, provider);
  const { graph, asInput, counts, initial, broken } = opened;

  const batchOf =
    (sequences: readonly Sequence[]): MicroBatch =>
    (parameters, dropout, lossScale) =>
      graph.step(sequences.map(asInput), parameters, dropout, lossScale);

  return {
    data: { rows: own.rows.length, replayed: drawn, issues: own.report.summary() },
    counts,
    steps: totalSteps(plan),
    stepsPerEpoch: stepsPerEpoch(plan),
    adam: ADAM,
    provider,
    precision: precisionOf(task, provider),
    isHalf: graph.isHalf,
    initial,
    broken,
    batchesOf(step) {
      const { epoch, batches } = batchesOfStep(plan, step);
      const sequences = batches.map((batch) =>
        [...batch].map((index) => {
          const row = replayedRow(replay, index, epoch);
          const variants = rows[row]!;
          return variants[templateOf(seed, variants.length, row, epoch)]!;
        }),
      );
      const all = sequences.flat();
      return { batches: sequences.map(batchOf), tokens: tokensOf(all), rows: all.length };
    },
    /** As many rows as a micro-batch holds, the longest ones. */
    largest() {
      const longestRows = rows
        .map((variants) => variants.reduce((a, b) => (b.inputIds.length > a.inputIds.length ? b : a)))
        .sort((a, b) => b.inputIds.length - a.inputIds.length)
        .slice(0, task.batchSize);
      const mean = tokensOf(own.rows.map(first)) / own.rows.length;
      return {
        batch: batchOf(longestRows),
        share: tokensOf(longestRows) / (mean * plan.rows * plan.epochs),
      };
    },
    ...(looked.length > 0
      ? {
          validationLoss: (parameters) =>
            validationLoss(graph, looked.map(asInput), parameters, task.batchSize),
        }
      : {}),
    bound() {},
    leaner: () => [
      ...(task.checkpointing || spec.method === 'qlora' ? [] : ['gradient_checkpointing']),
      ...(task.batchSize > 1
        ? [`batch_size ${Math.ceil(task.batchSize / 2)} with twice the gradient_accumulation_steps`]
        : []),
      `a max_length below the longest row's ${longest(own.rows)} tokens`,
      ...(spec.method === 'qlora' ? [] : ['method qlora']),
    ],
    release: () => graph.release(),
  };
}

const first = ([sequence]: Sequence[]): Sequence => sequence!;

const tokensOf = (sequences: readonly Sequence[]) =>
  sequences.reduce((sum, { inputIds }) => sum + inputIds.length, 0);

function longest(rows: readonly (readonly { inputIds: Int32Array }[])[]): number {
  let most = 1;
  for (const variants of rows) for (const { inputIds } of variants) most = Math.max(most, inputIds.length);
  return most;
}
