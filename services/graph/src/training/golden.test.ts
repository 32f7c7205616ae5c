import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  casesWith,
  readCase,
  readTensors,
  sequencesOf,
  specOf,
  type TrainingCase,
} from '../../test/reference-cases.ts';
import { float32Checkpoint, openCheckpoint } from '../checkpoint/checkpoint.ts';
import { parameterCounts, trainableShapes } from './methods.ts';
import { AdamW, accumulate, clipScale, globalNorm } from './optimizer.ts';
import { scheduleFactor } from './schedule.ts';
import { TrainingGraph } from './trainer.ts';

let cache: string;
beforeAll(() => {
  cache = mkdtempSync(join(tmpdir(), 'landfall-runs-'));
});
afterAll(() => rmSync(cache, { recursive: true, force: true }));

/** Every other case computes its layers again in the backward pass: nothing of what is expected may change by it. */
test.each(
  casesWith('expected_training.json').map(([name, folder], i) => [name, folder, i % 2 === 1] as const),
)('a run of PyTorch and peft: %s', async (_, folder, checkpointing) => {
  const expected = readCase<TrainingCase>(folder, 'expected_training.json');
  const checkpoint = float32Checkpoint(openCheckpoint(join(dirname(folder), expected.base)), cache);
  const parameters = readTensors(join(folder, 'initial.safetensors'));
  const spec = specOf(expected, parameters);
  expect([...trainableShapes(checkpoint.config, spec).keys()].sort()).toEqual([...parameters.keys()].sort());
  expect(parameterCounts(checkpoint.config, spec).trainable).toBe(expected.trainable_parameters);
  const { optimizer } = expected;
  const graph = await TrainingGraph.create(checkpoint, spec, { threads: 1, maxLength: 64, checkpointing });
  const adam = new AdamW(parameters, {
    beta1: optimizer.betas[0],
    beta2: optimizer.betas[1],
    epsilon: optimizer.eps,
    weightDecay: optimizer.weight_decay,
  });
  const accumulation = optimizer.gradient_accumulation_steps;
  for (let step = 0; step < optimizer.steps; step++) {
    const wanted = expected.log[step]!;
    const sum = new Map<string, Float32Array>();
    for (let micro = 0; micro < accumulation; micro++) {
      const batch = sequencesOf(expected.batches[step * accumulation + micro]!);
      const { loss, gradients } = await graph.step(batch, parameters);
      expect(Math.abs(loss - wanted.losses[micro]!)).toBeLessThan(1e-4);
      accumulate(sum, gradients, 1 / accumulation);
    }
    const norm = globalNorm(sum);
    expect(Math.abs(norm / wanted.grad_norm - 1)).toBeLessThan(1e-3);
    const rate = optimizer.lr * scheduleFactor('linear', step, optimizer.steps, optimizer.warmup_steps);
    expect(rate).toBeCloseTo(wanted.lr, 10);
    adam.step(parameters, sum, rate, clipScale(norm, optimizer.max_grad_norm));
  }
  for (const [tensor, { data }] of readTensors(join(folder, 'final.safetensors'))) {
    const ours = parameters.get(tensor)!.data;
    expect(Math.max(...data.map((x, i) => Math.abs(x - ours[i]!)))).toBeLessThan(2e-4);
  }
  const loss = await graph.loss(sequencesOf(expected.probe.batch), parameters);
  expect(Math.abs(loss - expected.probe.loss)).toBeLessThan(1e-4);
  await graph.release();
});
