import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { between, generator, testSeed } from '../../test/random.ts';
import {
  batchOf,
  CLIP_CONFIG,
  expectGradients,
  noisePixels,
  pairWith,
  writeRandomClip,
} from '../../test/random-clip.ts';
import { readJsonObject } from '../checkpoint/read-json.ts';
import type { NamedTensor } from '../checkpoint/safetensors.ts';
import { trainedClip } from '../checkpoint/trained-clip.ts';
import { openClip } from '../checkpoint/vision.ts';
import { writeModel } from '../checkpoint/write-model.ts';
import { ClipEncoder } from '../vision/clip-encoder.ts';
import { balancedEpoch } from './balanced.ts';
import { CLIP_PROJECTIONS } from './clip-lora.ts';
import { boundLogitScale, type ClipSpec, clipParameters } from './clip-spec.ts';
import { ClipTrainingGraph, type ImageTextPair } from './clip-trainer.ts';
import { AdamW, clipScale, globalNorm } from './optimizer.ts';

const random = generator(testSeed('alignment of images and texts'));
const folder = mkdtempSync(join(tmpdir(), 'landfall-clip-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const randomClip = (name: string) => writeRandomClip(join(folder, name), random);
const noise = (length: number) => noisePixels(length, random);
const pairOf = (pixels: Float32Array, ids: number[]) => pairWith(pixels, ids, random);

const LORA = {
  r: 2,
  loraAlpha: 4,
  targetModules: ['q_proj', 'k_proj', 'v_proj', 'out_proj'],
  useRslora: false,
};
const CHOICES: Record<string, ClipSpec> = {
  everything: { visionLayers: 'all', textLayers: 'all' },
  'the top layer of the image tower': { visionLayers: 1, textLayers: 0 },
  'the projections alone': { visionLayers: 0, textLayers: 0 },
  'an adapter of the attention': { lora: LORA },
  'an adapter of all layers, and the projections': {
    lora: { ...LORA, targetModules: ['all-linear'], modulesToSave: [...CLIP_PROJECTIONS] },
  },
};

test.each(Object.entries(CHOICES))('%s: gradients agree with differences of the loss', async (_, spec) => {
  const checkpoint = randomClip('gradients');
  const parameters = clipParameters(checkpoint, spec, random);
  // B begins with zeros, and A has no gradient then.
  for (const [name, { data }] of parameters) if (name.includes('.lora_B.')) data.set(noise(data.length));
  await expectGradients(checkpoint, spec, parameters, batchOf(random));
});

test('a batch that goes through the towers in parts has the loss and gradients of the whole', async () => {
  const spec = CHOICES.everything!;
  const checkpoint = randomClip('parts');
  const parameters = clipParameters(checkpoint, spec);
  const batch = batchOf(random);
  const steps = [];
  for (const partSize of [Number.POSITIVE_INFINITY, 1, 3]) {
    const graph = await ClipTrainingGraph.create(checkpoint, spec, { threads: 1, partSize });
    steps.push(await graph.step(batch, parameters));
    expect(await graph.loss(batch, parameters)).toBeCloseTo(steps[0]!.loss, 5);
    await graph.release();
  }
  const [whole, ...others] = steps;
  for (const { loss, gradients } of others) {
    expect(loss).toBeCloseTo(whole!.loss, 5);
    expect([...gradients.keys()]).toEqual([...whole!.gradients.keys()]);
    for (const [name, gradient] of gradients) {
      const wanted = whole!.gradients.get(name)!;
      const apart = Math.hypot(...gradient.map((g, i) => g - wanted[i]!));
      expect(apart, name).toBeLessThan(1e-5 + 1e-4 * Math.hypot(...wanted));
    }
  }
});

test('a CLIP learns to tell generated classes apart, the scarce one too, and is written as it is read', async () => {
  const checkpoint = randomClip('classes');
  const spec: ClipSpec = { visionLayers: 'all', textLayers: 'all' };
  const parameters = clipParameters(checkpoint, spec);
  const graph = await ClipTrainingGraph.create(checkpoint, spec, { threads: 1 });
  const adam = new AdamW(parameters, { beta1: 0.9, beta2: 0.98, epsilon: 1e-6, weightDecay: 0 });
  // Stripes across, stripes down, a bright corner; in noise, so that no two are the same.
  const classes: ((x: number, y: number) => number)[] = [
    (_, y) => (y % 4 < 2 ? 1 : -1),
    (x) => (x % 4 < 2 ? 1 : -1),
    (x, y) => (x < 4 && y < 4 ? 1 : -1),
  ];
  const texts = [
    [10, 11, 39],
    [12, 39],
    [13, 14, 15, 39],
  ];
  const image = (kind: number) =>
    Float32Array.from({ length: 64 }, (_, i) => classes[kind]!(i % 8, i >> 3) + random() - 0.5);
  const labels = Array.from({ length: 40 }, (_, i) => (i < 2 ? 2 : i % 2));
  const rows = labels.map((kind) => pairOf(image(kind), texts[kind]!));
  const names = labels.map(String);
  for (let epoch = 0; epoch < 15; epoch++) {
    const showings = balancedEpoch(names, epoch);
    for (let at = 0; at + 8 <= showings.length; at += 8) {
      const batch = showings.slice(at, at + 8).map(({ row }) => rows[row]!);
      const { gradients } = await graph.step(batch, parameters);
      adam.step(parameters, gradients, 5e-3, clipScale(globalNorm(gradients), 1));
      boundLogitScale(parameters);
    }
  }
  await graph.release();
  const written = join(folder, 'written');
  const tensors = [...trainedClip(checkpoint, parameters)].map(
    ([name, { shape, read }]) =>
      [name, { shape: [...shape], data: read() as Float32Array }] satisfies [string, NamedTensor],
  );
  writeModel(written, readJsonObject(checkpoint.folder, 'config.json'), new Map(tensors));
  const encoder = await ClipEncoder.create(openClip(written), { threads: 1, cacheFolder: folder });
  expect(encoder.logitScale).toBeLessThanOrEqual(100.001);
  const anchors = await encoder.texts(texts);
  const shown = Array.from({ length: 30 }, (_, i) => i % 3);
  const seen = await encoder.images(Float32Array.from(shown.flatMap((kind) => [...image(kind)])));
  await encoder.release();
  const size = CLIP_CONFIG.projection_dim;
  const best = shown.map((_, i) => {
    const likeness = texts.map((_, t) => {
      let sum = 0;
      for (let k = 0; k < size; k++) sum += seen[i * size + k]! * anchors[t * size + k]!;
      return sum;
    });
    return likeness.indexOf(Math.max(...likeness));
  });
  expect(best).toEqual(shown);
});

test('the scale of the logits stays within 1 and 100', () => {
  for (const [value, bound] of [
    [9, Math.log(100)],
    [-1, 0],
    [2, 2],
  ] as const) {
    const data = Float32Array.of(value);
    boundLogitScale(new Map([['logit_scale', { shape: [], data }]]));
    expect(data[0]).toBeCloseTo(bound, 6);
  }
});

describe('what cannot be learnt from is refused', () => {
  test('one text alone, too many layers, another size', async () => {
    const checkpoint = randomClip('refused');
    const spec: ClipSpec = { visionLayers: 0, textLayers: 0 };
    const parameters = clipParameters(checkpoint, spec);
    const graph = await ClipTrainingGraph.create(checkpoint, spec, { threads: 1 });
    const step = (batch: ImageTextPair[]) => graph.step(batch, parameters);
    const same = [pairOf(noise(64), [5, 39]), pairOf(noise(64), [5, 39])];
    await expect(step(same)).rejects.toThrow('nothing to tell apart');
    const small = [pairOf(noise(9), [5, 39]), pairOf(noise(64), [6, 39])];
    await expect(step(small)).rejects.toThrow('an image has 9 values');
    const long = [pairOf(noise(64), new Array<number>(9).fill(5)), pairOf(noise(64), [6, 39])];
    await expect(step(long)).rejects.toThrow('a text has 1 to 8 tokens, not 9');
    // Of one class, or showing one image: neither right nor wrong answers to one another.
    const [first, second] = [pairOf(noise(64), [5, 39]), pairOf(noise(64), [6, 39])];
    const alike = [
      { ...first, label: 'a' },
      { ...second, label: 'a' },
    ];
    await expect(step(alike)).rejects.toThrow('nothing to tell apart');
    await expect(step([first, { ...second, image: first.image }])).rejects.toThrow('nothing to tell apart');
    expect((await step([first, second])).loss).toBeGreaterThan(0);
    await graph.release();
    await expect(
      ClipTrainingGraph.create(checkpoint, { visionLayers: 3, textLayers: 0 }, { threads: 1 }),
    ).rejects.toThrow('3 layers of vision_model are to train; it has 2');
  });
});

describe('a balanced epoch', () => {
  const labels = Array.from({ length: between(random, 30, 60) }, (_, i) =>
    i < 2 ? 'scarce' : random() < 0.2 ? 'rare' : 'common',
  );

  test('shows each label alike, every row of a scarce one again before a third time', () => {
    const showings = balancedEpoch(labels, between(random, 0, 1e6));
    expect(showings).toHaveLength(labels.length);
    const counts = new Map<string, number>();
    for (const { row } of showings) counts.set(labels[row]!, (counts.get(labels[row]!) ?? 0) + 1);
    const all = [...counts.values()];
    expect(Math.max(...all) - Math.min(...all)).toBeLessThanOrEqual(1);
    const times = new Map<number, number>();
    for (const { row, before } of showings) times.set(row, Math.max(times.get(row) ?? 0, before));
    const scarce = [times.get(0)!, times.get(1)!];
    expect(Math.abs(scarce[0]! - scarce[1]!)).toBeLessThanOrEqual(1);
    const common = showings.filter(({ row }) => labels[row] === 'common');
    expect(common.every(({ before }) => before === 0)).toBe(true);
  });

  test('is decided by its seed', () => {
    expect(balancedEpoch(labels, 7)).toEqual(balancedEpoch(labels, 7));
    expect(balancedEpoch(labels, 7)).not.toEqual(balancedEpoch(labels, 8));
  });
});
