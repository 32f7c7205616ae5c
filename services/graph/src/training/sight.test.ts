import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { between, generator, testSeed } from '../../test/random.ts';
import { LLAVA_VARIANTS, randomImage, randomLlava, randomSeeing } from '../../test/random-llava.ts';
import { randomLora } from '../../test/random-model.ts';
import { expectSlope } from '../../test/slope.ts';
import { loadWeights } from '../checkpoint/checkpoint.ts';
import { readAdapter, writeLoraAdapter } from '../checkpoint/peft.ts';
import { readJsonObject } from '../checkpoint/read-json.ts';
import type { NamedTensor } from '../checkpoint/safetensors.ts';
import { trainedLlava } from '../checkpoint/trained-llava.ts';
import { type LlavaCheckpoint, openLlava } from '../checkpoint/vision.ts';
import { writeModel } from '../checkpoint/write-model.ts';
import { CachedDecoder } from '../serving/cached-decoder.ts';
import { ImageTokens } from '../vision/image-tokens.ts';
import type { TrainableSpec } from './methods.ts';
import { AdamW } from './optimizer.ts';
import type { Sequence } from './packing.ts';
import { type SightSpec, sightParameters } from './sight.ts';
import { TrainingGraph, type TrainingOptions } from './trainer.ts';

const random = generator(testSeed('training of what sees'));
const folder = mkdtempSync(join(tmpdir(), 'landfall-sight-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const models = Object.entries(LLAVA_VARIANTS).map(([name, changes], i): [string, LlavaCheckpoint] => [
  name,
  randomLlava(join(folder, `llava-${i}`), changes, random),
]);
const anyModel = () => models[between(random, 0, models.length - 1)]![1];

const LORA: TrainableSpec & { method: 'lora' } = {
  method: 'lora',
  lora: { r: 3, loraAlpha: 6, targetModules: ['all-linear'], useRslora: false },
};
const NONE: TrainableSpec = { method: 'partial', names: [] };
/** What of the decoder trains, and what of the sight. */
const CHOICES: Record<string, [TrainableSpec, SightSpec]> = {
  'the projector alone': [NONE, { projector: true, towerLayers: 0 }],
  'LoRA alone': [LORA, { projector: false, towerLayers: 0 }],
  'LoRA, projector and top layer of the tower': [LORA, { projector: true, towerLayers: 1 }],
  'QLoRA and projector': [
    { ...LORA, method: 'qlora' },
    { projector: true, towerLayers: 0 },
  ],
  'the tower alone': [NONE, { projector: false, towerLayers: 'all' }],
  everything: [{ method: 'full' }, { projector: true, towerLayers: 'all' }],
};

function parametersOf(checkpoint: LlavaCheckpoint, spec: TrainableSpec, sight: SightSpec) {
  const own: ReadonlyMap<string, NamedTensor> =
    'lora' in spec
      ? randomLora(checkpoint.language, spec.lora, random).tensors
      : spec.method === 'full'
        ? loadWeights(checkpoint.language)
        : new Map();
  return new Map([...own, ...sightParameters(checkpoint, sight)]);
}

const graphOf = (
  checkpoint: LlavaCheckpoint,
  spec: TrainableSpec,
  sight: SightSpec,
  options: Partial<TrainingOptions> = {},
) =>
  TrainingGraph.create(checkpoint.language, spec, {
    threads: 1,
    maxLength: 64,
    sight: { checkpoint, ...sight },
    ...options,
  });

const largest = (a: Float32Array, b: Float32Array) =>
  a.reduce((most, x, i) => Math.max(most, Math.abs(x - b[i]!)), 0);

describe.each(Object.entries(CHOICES))('%s', (_, [spec, sight]) => {
  test('gradients agree with differences of the loss along them', async () => {
    const checkpoint = anyModel();
    const parameters = parametersOf(checkpoint, spec, sight);
    const batch = randomSeeing(checkpoint, [1, 2, 0], random);
    const graph = await graphOf(checkpoint, spec, sight);
    const { gradients, loss } = await graph.step(batch, parameters);
    expect([...gradients.keys()].sort()).toEqual([...parameters.keys()].sort());
    expect(await graph.loss(batch, parameters)).toBeCloseTo(loss, 5);
    for (const [name, { data }] of parameters) {
      const gradient = gradients.get(name)!;
      // In the tower a bias of all keys moves every score of a query alike, which softmax does not see.
      if (/^vision_tower.*k_proj\.bias$/.test(name)) expect(Math.hypot(...gradient), name).toBeLessThan(1e-5);
      else await expectSlope(name, data, gradient, () => graph.loss(batch, parameters));
    }
    await graph.release();
  });
});

describe.each(models)('%s', (_, checkpoint) => {
  test.each(['of the base', 'of an adapter as it was written'])(
    'the loss is that of the served model: %s',
    async (what) => {
      const spec = what === 'of the base' ? NONE : LORA;
      const sight: SightSpec = { projector: spec === NONE, towerLayers: 0 };
      const graph = await graphOf(checkpoint, spec, sight);
      const parameters = parametersOf(checkpoint, spec, sight);
      const [sequence] = randomSeeing(checkpoint, [2], random) as [Sequence];
      const ids = Array.from(sequence.ids);
      const last = ids.length - 1;
      const labels = ids.map((id, i) => (i === last ? id : -100));
      const loss = await graph.loss([{ ...sequence, labels }], parameters);
      await graph.release();

      const tower = await ImageTokens.create(checkpoint, { threads: 1, cacheFolder: folder });
      const decoder = await CachedDecoder.create(checkpoint.language, {
        threads: 1,
        cacheFolder: folder,
        blocks: 8,
        blockSize: 16,
        adapterSlots: 1,
        images: true,
      });
      if ('lora' in spec) {
        const written = join(folder, `adapter-${spec.method}`);
        writeLoraAdapter(written, { config: spec.lora, tensors: parameters }, 'base', true);
        decoder.setAdapter(1, readAdapter(written, checkpoint.language.config));
      }
      const { imageToken } = checkpoint.config;
      const starts = ids.flatMap((id, i) => (id === imageToken && ids[i - 1] !== imageToken ? [i] : []));
      const images = await Promise.all(
        sequence.images!.map(async (image, i) => ({
          from: starts[i]!,
          tokens: await tower.run(await image.pixels()),
        })),
      );
      const adapterSlot = Number('lora' in spec);
      const row = { tokens: ids.slice(0, -1), start: 0, blockTable: [0, 1, 2, 3], adapterSlot, images };
      const [logits] = await decoder.step([row]);
      await decoder.release();
      await tower.release();
      const total = Math.log(logits!.reduce((sum, x) => sum + Math.exp(x), 0));
      expect(loss).toBeCloseTo(total - logits![ids[last]!]!, 4);
    },
  );

  test('a tower that is frozen up to a layer gives the gradients of one that trains as a whole', async () => {
    const whole: SightSpec = { projector: true, towerLayers: 'all' };
    const parameters = parametersOf(checkpoint, LORA, whole);
    const batch = randomSeeing(checkpoint, [1, 0, 2], random);
    const graph = await graphOf(checkpoint, LORA, whole);
    const all = await graph.step(batch, parameters);
    await graph.release();
    for (let towerLayers = 0; towerLayers <= checkpoint.config.featureLayer; towerLayers++) {
      const upper = await graphOf(checkpoint, LORA, { projector: true, towerLayers });
      const own = new Map([...parameters].filter(([name]) => upper.shapes.has(name)));
      const step = await upper.step(batch, own);
      await upper.release();
      expect(step.loss).toBeCloseTo(all.loss, 5);
      for (const [name, gradient] of step.gradients)
        expect(largest(all.gradients.get(name)!, gradient), name).toBeLessThan(1e-4);
    }
  });

  test('texts alone are learnt from too, as the decoder alone does', async () => {
    const sight: SightSpec = { projector: false, towerLayers: 0 };
    const parameters = parametersOf(checkpoint, LORA, sight);
    const batch = randomSeeing(checkpoint, [0, 0], random);
    const graph = await graphOf(checkpoint, LORA, sight);
    const seeing = await graph.step(batch, parameters);
    await graph.release();
    const plain = await TrainingGraph.create(checkpoint.language, LORA, { threads: 1, maxLength: 64 });
    const { loss, gradients } = await plain.step(batch, parameters);
    expect(seeing.loss).toBeCloseTo(loss, 6);
    for (const [name, gradient] of gradients)
      expect(largest(seeing.gradients.get(name)!, gradient), name).toBeLessThan(1e-5);
    const withImage = randomSeeing(checkpoint, [1], random);
    await expect(plain.step(withImage, parameters)).rejects.toThrow('the model sees none');
    await plain.release();
  });
});

test('a frozen tower looks at an image once, and again when it had to make room', async () => {
  const checkpoint = anyModel();
  const sight: SightSpec = { projector: true, towerLayers: 0 };
  const parameters = parametersOf(checkpoint, NONE, sight);
  const looks = new Map<string, number>();
  const watched = (sequence: Sequence): Sequence => ({
    ...sequence,
    images: sequence.images!.map(({ key, pixels }) => ({
      key,
      pixels: () => {
        looks.set(key, (looks.get(key) ?? 0) + 1);
        return pixels();
      },
    })),
  });
  const batch = randomSeeing(checkpoint, [2, 1], random).map(watched);
  const roomy = await graphOf(checkpoint, NONE, sight);
  const first = await roomy.step(batch, parameters);
  const again = await roomy.step(batch, parameters);
  await roomy.release();
  expect([...looks.values()]).toEqual([1, 1, 1]);
  expect(again).toEqual(first);

  looks.clear();
  const narrow = await graphOf(checkpoint, NONE, sight, { imageCacheBytes: 1 });
  for (let i = 0; i < 2; i++) expect((await narrow.step(batch, parameters)).loss).toBeCloseTo(first.loss, 6);
  await narrow.release();
  expect([...looks.values()]).toEqual([2, 2, 2]);
});

test.each([CHOICES.everything!, CHOICES['LoRA, projector and top layer of the tower']!])(
  'steps of AdamW lower the loss, and the folder that is written has it',
  async (spec, sight) => {
    const checkpoint = anyModel();
    const parameters = parametersOf(checkpoint, spec, sight);
    const batch = randomSeeing(checkpoint, [1, 1], random);
    const graph = await graphOf(checkpoint, spec, sight);
    const adam = new AdamW(parameters, { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0 });
    const before = await graph.loss(batch, parameters);
    for (let i = 0; i < 20; i++) adam.step(parameters, (await graph.step(batch, parameters)).gradients, 5e-3);
    const after = await graph.loss(batch, parameters);
    await graph.release();
    expect(after).toBeLessThan(0.8 * before);

    const adapter = 'lora' in spec ? { config: spec.lora, tensors: parameters } : undefined;
    const written = join(folder, `written-${spec.method}`);
    const weights = [...trainedLlava(checkpoint, parameters, adapter)];
    const config = readJsonObject(checkpoint.folder, 'config.json');
    writeModel(
      written,
      config,
      new Map(
        weights.map(([name, { shape, read }]) => [name, { shape: [...shape], data: read() as Float32Array }]),
      ),
    );
    const saved = openLlava(written);
    expect([...saved.tower.tensors.keys()].sort()).toEqual([...checkpoint.tower.tensors.keys()].sort());
    const nothing: SightSpec = { projector: true, towerLayers: 0 };
    const again = await graphOf(saved, NONE, nothing);
    expect(await again.loss(batch, sightParameters(saved, nothing))).toBeCloseTo(after, 3);
    await again.release();
  },
);

describe('what cannot be computed is refused', () => {
  const sight: SightSpec = { projector: true, towerLayers: 0 };

  test('images and their tokens that do not agree, and a token that would be learnt', async () => {
    const checkpoint = anyModel();
    const parameters = parametersOf(checkpoint, NONE, sight);
    const graph = await graphOf(checkpoint, NONE, sight);
    const [sequence] = randomSeeing(checkpoint, [1], random) as [Sequence];
    const step = (changes: Partial<Sequence>) => graph.step([{ ...sequence, ...changes }], parameters);
    await expect(step({ images: [] })).rejects.toThrow(/sequence 0 .* image tokens and 0 images/);
    await expect(step({ labels: Array.from(sequence.ids) })).rejects.toThrow('an image token as a label');
    const small = { ...randomImage(checkpoint, random), pixels: () => new Float32Array(7) };
    await expect(step({ images: [small] })).rejects.toThrow('an image has 7 values; the tower reads');
    await graph.release();
  });

  test('more layers than the tower has', async () => {
    const checkpoint = anyModel();
    const towerLayers = checkpoint.config.featureLayer + 1;
    await expect(graphOf(checkpoint, NONE, { projector: true, towerLayers })).rejects.toThrow(
      `${towerLayers} layers of the tower are to train; ${checkpoint.config.featureLayer} of it are read`,
    );
  });
});
