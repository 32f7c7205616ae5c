import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { openCheckpoint } from '../checkpoint/checkpoint.ts';
import { type NamedTensor, readFloat32, readSafetensorsHeader } from '../checkpoint/safetensors.ts';
import type { TrainableSpec } from './methods.ts';
import { AdamW, accumulate, clipScale, globalNorm } from './optimizer.ts';
import { scheduleFactor } from './schedule.ts';
import { TrainingGraph } from './trainer.ts';

const golden = process.env.LANDFALL_GOLDEN_DIR ?? '';
if (!existsSync(golden)) console.info('skipped: there are no reference cases; set LANDFALL_GOLDEN_DIR');

function tensors(file: string): Map<string, NamedTensor> {
  const entries = [...readSafetensorsHeader(file).tensors];
  return new Map(
    entries.map(([name, entry]) => [name, { shape: entry.shape, data: readFloat32(file, entry) }]),
  );
}

interface Batch {
  input_ids: number[][];
  labels: number[][];
  attention_mask: number[][];
}

function sequences({ input_ids, labels, attention_mask }: Batch) {
  return input_ids.map((ids, row) => {
    const length = attention_mask[row]!.lastIndexOf(1) + 1;
    return { ids: ids.slice(0, length), labels: labels[row]!.slice(0, length) };
  });
}

describe.runIf(existsSync(golden))('reference runs of PyTorch and peft', () => {
  test.each(['llama-lora', 'qwen2-lora', 'llama-full', 'qwen2-full', 'llama-frozen', 'qwen2-frozen'])(
    '%s',
    async (name) => {
      const expected = JSON.parse(readFileSync(join(golden, name, 'expected_training.json'), 'utf8'));
      const checkpoint = openCheckpoint(join(golden, expected.base));
      const parameters = tensors(join(golden, name, 'initial.safetensors'));
      const { config, optimizer } = expected;
      const spec: TrainableSpec =
        expected.method === 'lora'
          ? {
              method: 'lora',
              lora: {
                r: config.r,
                loraAlpha: config.lora_alpha,
                targetModules: config.target_modules,
                useRslora: false,
              },
            }
          : { method: 'partial', names: [...parameters.keys()] };
      const graph = await TrainingGraph.create(checkpoint, spec, { threads: 2, maxLength: 64 });
      const adam = new AdamW(parameters, {
        beta1: optimizer.betas[0],
        beta2: optimizer.betas[1],
        epsilon: optimizer.eps,
        weightDecay: optimizer.weight_decay,
      });
      const accumulation = optimizer.gradient_accumulation_steps;
      for (let step = 0; step < optimizer.steps; step++) {
        const sum = new Map<string, Float32Array>();
        for (let micro = 0; micro < accumulation; micro++) {
          const batch = sequences(expected.batches[step * accumulation + micro]);
          const { loss, gradients } = await graph.step(batch, parameters);
          expect(Math.abs(loss - expected.log[step].losses[micro])).toBeLessThan(1e-4);
          accumulate(sum, gradients, 1 / accumulation);
        }
        const norm = globalNorm(sum);
        expect(Math.abs(norm / expected.log[step].grad_norm - 1)).toBeLessThan(1e-3);
        const rate = optimizer.lr * scheduleFactor('linear', step, optimizer.steps, optimizer.warmup_steps);
        expect(rate).toBeCloseTo(expected.log[step].lr, 10);
        adam.step(parameters, sum, rate, clipScale(norm, optimizer.max_grad_norm));
      }
      for (const [tensor, { data }] of tensors(join(golden, name, 'final.safetensors'))) {
        const ours = parameters.get(tensor)!.data;
        expect(Math.max(...data.map((x, i) => Math.abs(x - ours[i]!)))).toBeLessThan(2e-4);
      }
      expect(
        Math.abs((await graph.loss(sequences(expected.probe.batch), parameters)) - expected.probe.loss),
      ).toBeLessThan(1e-4);
      await graph.release();
    },
  );
});
