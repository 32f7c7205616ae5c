/**
 * One training run of the bench, in a process of its own so that its memory is its own: reads TrainRun as JSON from its
 * argument and writes TrainFigures as JSON on its last line.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Checkpoint, float16Checkpoint, openCheckpoint } from '@landfall/graph/checkpoint/checkpoint.ts';
import { cudaUnavailable, type Provider } from '@landfall/graph/onnx/provider.ts';
import { LossScale } from '@landfall/graph/training/loss-scale.ts';
import type { TrainableSpec } from '@landfall/graph/training/methods.ts';
import { AdamW } from '@landfall/graph/training/optimizer.ts';
import type { Sequence } from '@landfall/graph/training/packing.ts';
import { TrainingGraph } from '@landfall/graph/training/trainer.ts';
import { initialParameters } from '@landfall/trainer/engine/train/initial.ts';
import { optimiserStep } from '@landfall/trainer/engine/train/step.ts';
import { lcg } from './random.ts';
import { median } from './report.ts';

export interface TrainRun {
  model: string;
  method: 'lora' | 'qlora' | 'full' | 'frozen' | 'ptuning_v2';
  batch: number;
  /** Tokens of a row; the longest where rows are ragged. */
  length: number;
  /** Shortest row; 0 for rows of one length. */
  ragged: number;
  /** Measured steps; one more goes before them. */
  steps: number;
  threads: number;
  precision: 'float32' | 'int8' | 'float16';
  provider: Provider;
  checkpointing: boolean;
  /** Compares the gradients of another precision with those of float32 instead of timing. */
  gradientError?: boolean;
}

export interface TrainFigures {
  secondsPerStep: number;
  /** Tokens of answers, the ones that a loss is taken of. */
  tokensPerSecond: number;
  peakRssMiB: number;
  /** From the start of the process to the begin of its first step. */
  startSeconds: number;
  firstLoss: number;
  trainable: number;
  /** Norm of the difference over the norm of float32's, of all gradients together. */
  gradientError?: number;
}

const LORA = { r: 8, loraAlpha: 16, targetModules: ['q_proj', 'v_proj'], useRslora: false };

export function specOf(method: TrainRun['method']): TrainableSpec {
  switch (method) {
    case 'lora':
    case 'qlora':
      return { method, lora: LORA };
    case 'frozen':
      return { method, frozen: { trainableLayers: 2, finalNorm: true, head: false } };
    case 'ptuning_v2':
      return { method, prefix: { numVirtualTokens: 16, prefixProjection: false, encoderHiddenSize: 0 } };
    default:
      return { method };
  }
}

/** Rows of random tokens, the second half of each its answer. */
export function rowsOf(run: TrainRun, vocabulary: number, random: () => number): Sequence[] {
  return Array.from({ length: run.batch }, () => {
    const { ragged, length } = run;
    const size = ragged > 0 ? ragged + Math.floor(random() * (length - ragged + 1)) : length;
    const ids = Array.from({ length: size }, () => Math.floor(random() * vocabulary));
    return { ids, labels: ids.map((id, i) => (i < size >> 1 ? -100 : id)) };
  });
}

async function main(run: TrainRun): Promise<TrainFigures> {
  if (run.provider === 'cuda') {
    const reason = await cudaUnavailable();
    if (reason !== undefined) throw new Error(`CUDA can't be used: ${reason}`);
  }
  const checkpoint = openCheckpoint(run.model);
  const { vocabSize } = checkpoint.config;
  const spec = specOf(run.method);
  const options = {
    threads: run.threads,
    maxLength: run.length,
    checkpointing: run.checkpointing || run.method === 'qlora',
    provider: run.provider,
  };
  const parameters = initialParameters({ language: checkpoint }, spec, lcg(3));
  const stored = run.precision === 'float16' ? inHalves(checkpoint) : checkpoint;
  const graph = await TrainingGraph.create(stored, spec, { ...options, forwardPrecision: run.precision });
  const lossScale = graph.isHalf ? new LossScale() : undefined;
  const startSeconds = performance.now() / 1000;
  const adam = new AdamW(parameters, { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0 });
  const random = lcg(7);
  const seconds: number[] = [];
  let [answered, firstLoss] = [0, 0];
  for (let step = 0; step <= run.steps; step++) {
    const rows = rowsOf(run, vocabSize, random);
    const start = performance.now();
    const { losses } = await optimiserStep(graph, [rows], parameters, adam, {
      learningRate: 1e-3,
      maxGradNorm: 1,
      ...(lossScale ? { lossScale } : {}),
    });
    if (step === 0) firstLoss = losses[0]!;
    else {
      seconds.push((performance.now() - start) / 1000);
      answered += rows.reduce(
        (sum, { labels }) => sum + Array.from(labels).filter((label) => label !== -100).length,
        0,
      );
    }
  }
  const figures: TrainFigures = {
    secondsPerStep: median(seconds),
    tokensPerSecond: answered / seconds.reduce((sum, x) => sum + x, 0),
    peakRssMiB: process.resourceUsage().maxRSS / 1024,
    startSeconds,
    firstLoss,
    trainable: [...parameters.values()].reduce((sum, { data }) => sum + data.length, 0),
  };
  if (!run.gradientError) return figures;
  // After a few steps, so that neither half of an adapter is zero.
  const rows = rowsOf(run, vocabSize, random);
  const ours = copied((await graph.step(rows, parameters, 0, lossScale?.state.scale)).gradients);
  await graph.release();
  const exact = await TrainingGraph.create(checkpoint, spec, options);
  const { gradients } = await exact.step(rows, parameters);
  let [difference, norm] = [0, 0];
  for (const [name, values] of gradients) {
    for (const [i, value] of values.entries()) {
      difference += (ours.get(name)![i]! - value) ** 2;
      norm += value ** 2;
    }
  }
  return { ...figures, gradientError: Math.sqrt(difference / norm) };
}

/** A copy that is there as long as the process is. */
function inHalves(checkpoint: Checkpoint): Checkpoint {
  const folder = mkdtempSync(join(tmpdir(), 'landfall-float16-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  return float16Checkpoint(checkpoint, folder);
}

const copied = (gradients: Map<string, Float32Array>) =>
  new Map([...gradients].map(([name, values]) => [name, values.slice()]));

if (process.argv[1] === import.meta.filename) {
  const figures = await main(JSON.parse(process.argv[2]!) as TrainRun);
  process.stdout.write(`${JSON.stringify(figures)}\n`);
}
