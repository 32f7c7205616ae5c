import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { between, generator, testSeed } from '../../test/random.ts';
import { randomLora, randomModel, randomSequences, SMALL, VARIANTS } from '../../test/random-model.ts';
import { expectSlope } from '../../test/slope.ts';
import { type Checkpoint, float16Checkpoint, loadWeights, openCheckpoint } from '../checkpoint/checkpoint.ts';
import { dequantizeMaxima, dequantizeNf4, quantizeMaxima, quantizeNf4 } from '../checkpoint/nf4.ts';
import type { NamedTensor } from '../checkpoint/safetensors.ts';
import { writeModel } from '../checkpoint/write-model.ts';
import { linearModules } from '../models/transformer.ts';
import { ForwardGraph } from './forward.ts';
import type { LoraConfig } from './lora.ts';
import { type TrainableSpec, trainableShapes } from './methods.ts';
import type { Sequence } from './packing.ts';
import { initialPrefix } from './prefix.ts';
import { TrainingGraph, type TrainingOptions } from './trainer.ts';

const random = generator(testSeed('training graphs'));
const folder = mkdtempSync(join(tmpdir(), 'landfall-training-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const LORA: LoraConfig = { r: 3, loraAlpha: 6, targetModules: ['all-linear'], useRslora: false };
const SPECS: Record<string, TrainableSpec> = {
  lora: { method: 'lora', lora: LORA },
  'lora with biases and the final norm': {
    method: 'lora',
    lora: { ...LORA, targetModules: ['q_proj', 'down_proj'], bias: 'all', modulesToSave: ['model.norm'] },
  },
  qlora: { method: 'qlora', lora: { ...LORA, targetModules: ['v_proj', 'up_proj'] } },
  ptuning_v2: {
    method: 'ptuning_v2',
    prefix: { numVirtualTokens: 3, prefixProjection: false, encoderHiddenSize: 0 },
  },
  'ptuning_v2 of a projection': {
    method: 'ptuning_v2',
    prefix: { numVirtualTokens: 2, prefixProjection: true, encoderHiddenSize: 5 },
  },
  frozen: { method: 'frozen', frozen: { trainableLayers: 1, finalNorm: true, head: false } },
  full: { method: 'full' },
};

/** Parameters of a method, none of them zero. */
function parametersOf(checkpoint: Checkpoint, spec: TrainableSpec): Map<string, NamedTensor> {
  if ('lora' in spec) return randomLora(checkpoint, spec.lora, random).tensors;
  if (spec.method === 'ptuning_v2') return initialPrefix(checkpoint.config, spec.prefix, random);
  const weights = loadWeights(checkpoint);
  const names = [...trainableShapes(checkpoint.config, spec).keys()];
  return new Map(names.map((name) => [name, weights.get(name)!]));
}

/** A step and the loss alone, of a graph that is made for them. */
async function stepOf(
  checkpoint: Checkpoint,
  spec: TrainableSpec,
  parameters: ReadonlyMap<string, NamedTensor>,
  batch: readonly Sequence[],
  options: Partial<TrainingOptions> & { seed?: number } = {},
) {
  const { seed, ...rest } = options;
  const graph = await TrainingGraph.create(checkpoint, spec, { threads: 1, maxLength: 32, ...rest });
  const step = await graph.step(batch, parameters, seed);
  const loss = await graph.loss(batch, parameters);
  await graph.release();
  return { ...step, lossAlone: loss };
}

const modelName = (name: string) => name.replaceAll(/\W+/g, '-');
const models = new Map(
  Object.entries(VARIANTS).map(([name, changes]) => [
    name,
    randomModel(join(folder, modelName(name)), changes, random),
  ]),
);
const anyModel = () => [...models.values()][between(random, 0, models.size - 1)]!;

describe.each(Object.entries(SPECS))('%s', (_, spec) => {
  test('gradients agree with differences of the loss along them', async () => {
    const checkpoint = anyModel();
    const parameters = parametersOf(checkpoint, spec);
    const batch = randomSequences(random, 3, 12);
    const graph = await TrainingGraph.create(checkpoint, spec, { threads: 1, maxLength: 32 });
    const { gradients, loss } = await graph.step(batch, parameters);
    expect(await graph.loss(batch, parameters)).toBeCloseTo(loss, 5);
    for (const [name, { data }] of parameters)
      await expectSlope(name, data, gradients.get(name)!, () => graph.loss(batch, parameters));
    await graph.release();
  });

  test('a layer that is computed again gives the same loss and gradients', async () => {
    const checkpoint = anyModel();
    const parameters = parametersOf(checkpoint, spec);
    const batch = randomSequences(random, 3, 12);
    const kept = await stepOf(checkpoint, spec, parameters, batch, { checkpointing: false });
    const again = await stepOf(checkpoint, spec, parameters, batch, { checkpointing: true });
    expect(again.loss).toBe(kept.loss);
    expect([...again.gradients.keys()]).toEqual([...kept.gradients.keys()]);
    for (const [name, gradient] of kept.gradients) {
      const scale = 1e-5 * (1 + Math.max(...gradient.map(Math.abs)));
      expect(largest(again.gradients.get(name)!, gradient), name).toBeLessThan(scale);
    }
  });

  test('long sequences, a part of the queries at a time, give the same loss and gradients', async () => {
    const checkpoint = anyModel();
    const parameters = parametersOf(checkpoint, spec);
    // Fewer tokens than parts now and then.
    const batch = randomSequences(random, 2, [3, between(random, 4, 300)][between(random, 0, 1)]!);
    const kept = await stepOf(checkpoint, spec, parameters, batch, { maxLength: 300 });
    for (const checkpointing of [false, true]) {
      const inParts = await stepOf(checkpoint, spec, parameters, batch, { maxLength: 1000, checkpointing });
      expect(inParts.loss).toBeCloseTo(kept.loss, 5);
      expect(inParts.lossAlone).toBeCloseTo(kept.loss, 5);
      for (const [name, gradient] of kept.gradients) {
        const scale = 1e-5 * (1 + Math.max(...gradient.map(Math.abs)));
        expect(largest(inParts.gradients.get(name)!, gradient), name).toBeLessThan(scale);
      }
    }
  });
});

const largest = (a: Float32Array, b: Float32Array) =>
  a.reduce((most, x, i) => Math.max(most, Math.abs(x - b[i]!)), 0);

describe.each([...models])('%s', (name, checkpoint) => {
  test('sequences of a batch do not see one another', async () => {
    const spec = SPECS[['lora', 'ptuning_v2', 'full'][between(random, 0, 2)]!]!;
    const parameters = parametersOf(checkpoint, spec);
    const batch = randomSequences(random, 4, 14);
    const graph = await TrainingGraph.create(checkpoint, spec, { threads: 1, maxLength: 32 });
    const together = await graph.step(batch, parameters);
    const labels = batch.map(({ labels }) => labels.slice(1).filter((label) => label !== -100).length);
    const all = labels.reduce((a, b) => a + b);
    let loss = 0;
    const sums = new Map<string, Float32Array>();
    for (const [i, sequence] of batch.entries()) {
      const alone = await graph.step([sequence], parameters);
      const share = labels[i]! / all;
      loss += share * alone.loss;
      for (const [tensor, gradient] of alone.gradients) {
        const sum = sums.get(tensor) ?? new Float32Array(gradient.length);
        sums.set(
          tensor,
          sum.map((x, k) => x + share * gradient[k]!),
        );
      }
    }
    await graph.release();
    expect(together.loss).toBeCloseTo(loss, 4);
    for (const [tensor, gradient] of together.gradients)
      expect(largest(sums.get(tensor)!, gradient), `${name} ${tensor}`).toBeLessThan(2e-4);
  });

  test('the loss is that of the plain forward pass, where an adapter adds nothing', async () => {
    const parameters = parametersOf(checkpoint, SPECS.lora!);
    for (const [tensor, { data }] of parameters) if (tensor.includes('lora_B')) data.fill(0);
    const batch = randomSequences(random, 3, 14);
    const { loss } = await stepOf(checkpoint, SPECS.lora!, parameters, batch);
    const plain = await ForwardGraph.create(checkpoint, 1);
    expect((await plain.run(batch)).loss).toBeCloseTo(loss, 4);
    await plain.release();
  });
});

describe('dropout', () => {
  const spec: TrainableSpec = { method: 'lora', lora: { ...LORA, loraDropout: 0.4 } };

  test('drops the same for the same seed, other inputs for another, and none where only the loss is asked', async () => {
    const checkpoint = anyModel();
    const parameters = parametersOf(checkpoint, spec);
    const batch = randomSequences(random, 3, 12);
    const [first, same, other] = [
      await stepOf(checkpoint, spec, parameters, batch, { seed: 7 }),
      await stepOf(checkpoint, spec, parameters, batch, { seed: 7, checkpointing: true }),
      await stepOf(checkpoint, spec, parameters, batch, { seed: 8 }),
    ];
    expect(same.loss).toBe(first.loss);
    for (const [name, gradient] of first.gradients)
      expect(largest(same.gradients.get(name)!, gradient)).toBeLessThan(1e-4);
    expect(other.loss).not.toBe(first.loss);
    const without = await stepOf(checkpoint, SPECS.lora!, parameters, batch);
    expect(first.lossAlone).toBeCloseTo(without.loss, 5);
    expect(first.loss).not.toBeCloseTo(without.loss, 5);
  });

  test('has the mean of no dropout', async () => {
    const checkpoint = anyModel();
    // In the last module and little of it: the loss is nearly linear in what is dropped.
    const last = [...linearModules(checkpoint.config).keys()].at(-1)!;
    const lora = { ...LORA, targetModules: [last] };
    const parameters = randomLora(checkpoint, lora, random).tensors;
    for (const [tensor, { data }] of parameters)
      if (tensor.includes('lora_B')) for (let i = 0; i < data.length; i++) data[i]! *= 0.02;
    const batch = randomSequences(random, 3, 12);
    const dropping: TrainableSpec = { method: 'lora', lora: { ...lora, loraDropout: 0.5 } };
    const graph = await TrainingGraph.create(checkpoint, dropping, { threads: 1, maxLength: 32 });
    const rounds = 200;
    let mean = 0;
    let spread = 0;
    const plain = await graph.loss(batch, parameters);
    for (let seed = 0; seed < rounds; seed++) {
      const { loss } = await graph.step(batch, parameters, seed);
      mean += loss / rounds;
      spread += (loss - plain) ** 2 / rounds;
    }
    await graph.release();
    expect(Math.abs(mean - plain)).toBeLessThan(6 * Math.sqrt(spread / rounds) + 1e-5);
  });
});

describe('frozen weights in fewer bits', () => {
  test('QLoRA computes what LoRA does over the weights that its packed ones stand for', async () => {
    const checkpoint = anyModel();
    const spec = SPECS.qlora!;
    const parameters = parametersOf(checkpoint, spec);
    const batch = randomSequences(random, 3, 12);
    const packed = await stepOf(checkpoint, spec, parameters, batch);

    const weights = loadWeights(checkpoint);
    for (const [module, shape] of linearModules(checkpoint.config)) {
      const nf4 = quantizeNf4(weights.get(`${module}.weight`)!.data, shape);
      const absmax = dequantizeMaxima(quantizeMaxima(nf4.absmax));
      weights.get(`${module}.weight`)!.data.set(dequantizeNf4({ ...nf4, absmax }));
    }
    const rounded = join(folder, 'rounded');
    writeModel(rounded, configOf(checkpoint), weights);
    const plain: TrainableSpec = { method: 'lora', lora: (spec as { lora: LoraConfig }).lora };
    const exact = await stepOf(openCheckpoint(rounded), plain, parameters, batch);
    expect(packed.loss).toBeCloseTo(exact.loss, 4);
    for (const [name, gradient] of exact.gradients)
      expect(largest(packed.gradients.get(name)!, gradient), name).toBeLessThan(2e-4);
  });

  test('an INT8 forward pass is near the exact one, and a row does not depend on its neighbours', async () => {
    const checkpoint = anyModel();
    const spec = SPECS.lora!;
    const parameters = parametersOf(checkpoint, spec);
    const batch = randomSequences(random, 4, 14);
    const exact = await stepOf(checkpoint, spec, parameters, batch);
    const int8 = await stepOf(checkpoint, spec, parameters, batch, { forwardPrecision: 'int8' });
    expect(Math.abs(int8.loss - exact.loss)).toBeLessThan(0.05 * exact.loss);
    expect(int8.loss).not.toBe(exact.loss);
    const again = { forwardPrecision: 'int8', checkpointing: true } as const;
    expect((await stepOf(checkpoint, spec, parameters, batch, again)).loss).toBe(int8.loss);
    let [along, ours, theirs] = [0, 0, 0];
    for (const [name, gradient] of exact.gradients) {
      const rounded = int8.gradients.get(name)!;
      for (let i = 0; i < gradient.length; i++) {
        along += gradient[i]! * rounded[i]!;
        ours += rounded[i]! ** 2;
        theirs += gradient[i]! ** 2;
      }
    }
    expect(along / Math.sqrt(ours * theirs)).toBeGreaterThan(0.95);

    const options = { threads: 1, maxLength: 32, forwardPrecision: 'int8' } as const;
    const graph = await TrainingGraph.create(checkpoint, spec, options);
    const one = { ids: batch[0]!.ids, labels: batch[0]!.labels };
    const mute = batch.slice(1).map(({ ids }) => ({ ids, labels: ids.map(() => -100) }));
    const alone = await graph.loss([one], parameters);
    expect(await graph.loss([one, ...mute], parameters)).toBeCloseTo(alone, 5);
    await graph.release();
  });
});

describe.each(Object.entries(SPECS))('float16 products: %s', (name, spec) => {
  test('gradients are near the exact ones at any scale that holds them, and say so where one does not', async () => {
    const checkpoint = anyModel();
    const parameters = parametersOf(checkpoint, spec);
    const batch = randomSequences(random, 4, 14);
    // Of the weights that float16 has: what is measured is the products' rounding.
    const halves = float16Checkpoint(checkpoint, join(folder, 'halves'));
    const exact = await stepOf(halvesAsFloat32(halves), spec, parameters, batch);
    const options = { threads: 1, maxLength: 32, forwardPrecision: 'float16' } as const;
    const graph = await TrainingGraph.create(halves, spec, options);
    for (const scale of [1, 2 ** 10]) {
      const step = await graph.step(batch, parameters, 0, scale);
      expect(Math.abs(step.loss - exact.loss)).toBeLessThan(0.01 * exact.loss);
      expect(step.loss).not.toBe(exact.loss);
      const error = relativeError(step.gradients, exact.gradients);
      console.info(`float16, ${name}, loss scale ${scale}: gradient error ${error.toFixed(5)}`);
      expect(error).toBeLessThan(0.02);
    }
    expect((await graph.loss(batch, parameters)) / exact.loss).toBeCloseTo(1, 2);
    const overflow = await graph.step(batch, parameters, 0, 2 ** 60);
    expect(overflow.loss).toBeCloseTo(exact.loss, 1);
    expect([...overflow.gradients.values()].some((values) => !values.every(Number.isFinite))).toBe(true);
    const again = await TrainingGraph.create(halves, spec, { ...options, checkpointing: true });
    expect(relativeError((await again.step(batch, parameters)).gradients, exact.gradients)).toBeLessThan(
      0.02,
    );
    await graph.release();
    await again.release();
  });
});

/** Euclidean norm of the difference over all tensors, of that of `exact`. */
function relativeError(
  gradients: ReadonlyMap<string, Float32Array>,
  exact: ReadonlyMap<string, Float32Array>,
) {
  let [difference, norm] = [0, 0];
  for (const [name, values] of exact) {
    for (const [i, value] of values.entries()) {
      difference += (gradients.get(name)![i]! - value) ** 2;
      norm += value ** 2;
    }
  }
  return Math.sqrt(difference / norm);
}

let written = 0;
function halvesAsFloat32(halves: Checkpoint): Checkpoint {
  const name = [...models].find(([, model]) => model.folder === halves.folder)![0];
  const target = join(folder, `halves-${++written}`);
  writeModel(target, { ...SMALL, ...VARIANTS[name]! }, loadWeights(halves));
  return openCheckpoint(target);
}

/** The config.json that a model of these tests was written with. */
function configOf(checkpoint: Checkpoint): Record<string, unknown> {
  const name = [...models].find(([, model]) => model === checkpoint)![0];
  return { ...SMALL, ...VARIANTS[name]! };
}
