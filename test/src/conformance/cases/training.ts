import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type Checkpoint, float32Checkpoint } from '@landfall/graph/checkpoint/checkpoint.ts';
import { readLoraAdapter, readPrefixAdapter } from '@landfall/graph/checkpoint/peft.ts';
import type { NamedTensor } from '@landfall/graph/checkpoint/safetensors.ts';
import type { ModelConfig } from '@landfall/graph/models/config.ts';
import { parameterCounts, type TrainableSpec } from '@landfall/graph/training/methods.ts';
import { AdamW } from '@landfall/graph/training/optimizer.ts';
import { type PrefixConfig, promptEmbeddings } from '@landfall/graph/training/prefix.ts';
import { scheduleFactor } from '@landfall/graph/training/schedule.ts';
import { TrainingGraph } from '@landfall/graph/training/trainer.ts';
import { optimiserStep } from '@landfall/trainer/engine/train/step.ts';
import { baseFolder } from '../find-cases.ts';
import { Differences, type Outcome, UnsupportedCase } from '../outcome.ts';
import { loraConfig } from './adapter.ts';
import { openBase, type PaddedBatch, readTensors, sequencesOf } from './batches.ts';

interface Expected {
  base: string;
  method: string;
  config: Record<string, unknown>;
  optimizer: {
    name?: string;
    lr: number;
    weight_decay: number;
    betas: [number, number];
    eps: number;
    warmup_steps: number;
    schedule?: string;
    steps: number;
    gradient_accumulation_steps: number;
    max_grad_norm: number;
  };
  trainable_parameters?: number;
  batches: PaddedBatch[];
  log: { lr: number; losses: number[]; grad_norm: number }[];
  probe?: { batch: PaddedBatch; loss: number };
}

const LOSS = 1e-4;
const NORM = 1e-3;
const TENSOR = 2e-4;
const RATE = 1e-9;

/** A whole run from `initial`: losses, learning rates and gradient norms of each step, final tensors, unseen batch. */
export async function trainingCase({ folder, file }: { folder: string; file: string }): Promise<Outcome> {
  const expected = JSON.parse(readFileSync(file, 'utf8')) as Expected;
  const { optimizer } = expected;
  if ((optimizer.name ?? 'adamw') !== 'adamw') throw new UnsupportedCase(`optimizer ${optimizer.name}`);
  if ((optimizer.schedule ?? 'linear') !== 'linear')
    throw new UnsupportedCase(`schedule ${optimizer.schedule}`);
  const cache = mkdtempSync(path.join(tmpdir(), 'landfall-conformance-'));
  try {
    const checkpoint = float32Checkpoint(openBase(baseFolder(folder, expected.base)), cache);
    return await compareRun(folder, expected, checkpoint);
  } finally {
    rmSync(cache, { recursive: true, force: true });
  }
}

async function compareRun(folder: string, expected: Expected, checkpoint: Checkpoint): Promise<Outcome> {
  const parameters = readTensors(path.join(folder, 'initial.safetensors'));
  const spec = specOf(expected, parameters);
  const differences = new Differences();
  if (expected.trainable_parameters !== undefined) {
    const count = parameterCounts(checkpoint.config, spec).trainable;
    differences.add('trainable_parameters', Math.abs(count - expected.trainable_parameters), 0);
  }
  const batches = expected.batches.map(sequencesOf);
  const probe = expected.probe && sequencesOf(expected.probe.batch);
  const longest = Math.max(...[...batches.flat(), ...(probe ?? [])].map(({ ids }) => ids.length));
  const graph = await TrainingGraph.create(checkpoint, spec, { threads: 2, maxLength: longest });
  try {
    await train(graph, expected, batches, parameters, differences);
    for (const [name, { data }] of readTensors(path.join(folder, 'final.safetensors'))) {
      differences.addAll('final', parameters.get(name)?.data ?? [], data, TENSOR);
    }
    comparePeft(folder, checkpoint.config, spec, parameters, differences);
    if (probe) {
      const loss = await graph.loss(probe, parameters);
      differences.add('probe', Math.abs(loss - expected.probe!.loss), LOSS);
    }
  } finally {
    await graph.release();
  }
  return differences.outcome();
}

async function train(
  graph: TrainingGraph,
  { optimizer, log }: Expected,
  batches: ReturnType<typeof sequencesOf>[],
  parameters: Map<string, NamedTensor>,
  differences: Differences,
): Promise<void> {
  const adam = new AdamW(parameters, {
    beta1: optimizer.betas[0],
    beta2: optimizer.betas[1],
    epsilon: optimizer.eps,
    weightDecay: optimizer.weight_decay,
  });
  const accumulation = optimizer.gradient_accumulation_steps;
  for (let step = 0; step < optimizer.steps; step++) {
    const wanted = log[step]!;
    const learningRate =
      optimizer.lr * scheduleFactor('linear', step, optimizer.steps, optimizer.warmup_steps);
    const micro = batches.slice(step * accumulation, (step + 1) * accumulation);
    const settings = { learningRate, maxGradNorm: optimizer.max_grad_norm };
    const { losses, gradNorm } = await optimiserStep(graph, micro, parameters, adam, settings);
    differences.addAll('loss', losses, wanted.losses, LOSS);
    differences.add('grad_norm', Math.abs(gradNorm / wanted.grad_norm - 1), NORM);
    differences.add('lr', Math.abs(learningRate - wanted.lr), RATE);
  }
}

/** The folder that peft has written is read as the adapter that was trained. */
function comparePeft(
  folder: string,
  model: ModelConfig,
  spec: TrainableSpec,
  parameters: ReadonlyMap<string, NamedTensor>,
  differences: Differences,
): void {
  const saved = path.join(folder, 'peft');
  if (!existsSync(saved)) return;
  if (spec.method === 'ptuning_v2') {
    const { data } = promptEmbeddings(model, spec.prefix, parameters);
    differences.addAll('peft', data, readPrefixAdapter(saved, model).embeddings, TENSOR);
  }
  if (spec.method !== 'lora') return;
  for (const [name, { data }] of readLoraAdapter(saved, model).tensors) {
    differences.addAll('peft', parameters.get(name)?.data ?? [], data, TENSOR);
  }
}

/** What trains. Whatever isn't an adapter is a set of the checkpoint's own weights, which `initial` names. */
function specOf({ method, config }: Expected, parameters: ReadonlyMap<string, NamedTensor>): TrainableSpec {
  if (method === 'lora') return { method: 'lora', lora: loraConfig(config) };
  if (method === 'full' || method === 'frozen') return { method: 'partial', names: [...parameters.keys()] };
  if (method === 'ptuning_v2') return { method, prefix: prefixConfig(config, parameters) };
  throw new UnsupportedCase(`training method ${method}`);
}

/** peft leaves the projection's width open in its configuration: the tensors tell it. */
function prefixConfig(
  config: Record<string, unknown>,
  parameters: ReadonlyMap<string, NamedTensor>,
): PrefixConfig {
  return {
    numVirtualTokens: Number(config.num_virtual_tokens),
    prefixProjection: config.prefix_projection === true,
    encoderHiddenSize: parameters.get('prompt_encoder.default.transform.0.bias')?.data.length ?? 0,
  };
}
