import { Kind } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import { ReviewCause } from '@landfall/proto/landfall/vision/v1/inspection_pb.js';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { generator, testSeed } from '../../graph/test/random.ts';
import {
  meshKey,
  TestFolder,
  TestRegistry,
  TestReplica,
  testConfig,
} from '../../text-inference/test/harness.ts';
import { PATCHES, randomImage, writeTinyLlava } from '../../text-inference/test/tiny-llava.ts';
import { type Stage, stage } from './stage.ts';

const random = generator(testSeed('real replica'));
const running = new AsyncDisposableStack();
let at: Stage | undefined;

beforeAll(async () => {
  const folder = running.use(new TestFolder());
  const registry = running.use(new TestRegistry());
  await registry.start();
  writeTinyLlava(folder.join('base'));
  registry.versions.push({ name: 'eye', version: '1.0.0', kind: Kind.BASE, folder: folder.join('base') });
  const config = testConfig(folder.join('home'), {
    ...{
      registryUrl: registry.address,
      tenant: 'acme',
      blocks: 512,
      maxQueue: 8,
      model: { name: 'eye', version: '1.0.0' },
    },
  });
  const replica = running.use(await TestReplica.start(config));
  at = await stage({}, {}, { meshKey, replicas: { eye: replica.address } });
  if (!at) return;
  const disposition = { conclusion: 'c', advice: 'a' };
  await at.profiles.putProfile({
    name: 'small',
    spec: {
      ...{
        language: 'en',
        deployment: 'eye',
        prompt: '<image>\nlook',
        boxScale: 9,
        maxDefects: 1,
        sound: disposition,
      },
      defectTypes: ['dent', 'hole'].map((id) => ({ id, name: id, dispositions: [disposition] })),
      review: { uncertainFrom: 0, uncertainTo: 1 },
    },
  });
}, 180_000);
afterAll(async () => {
  await at?.[Symbol.asyncDispose]();
  await running.disposeAsync();
});

test('a model of random weights, held to the schema, gives reports with confidences and grids of its own patches', async (t) => {
  if (!at) return t.skip();
  for (let i = 0; i < 3; i++) {
    const image = { content: await randomImage(random) };
    const { report } = await at.vision.inspect({ profile: 'small', image, includeHeatMap: true });
    expect(report!.model).toBe('models:/eye/1.0.0');
    // The tokens that it tells are those of its answer.
    expect(report!.reviewCause).not.toBe(ReviewCause.NO_CONFIDENCE);
    expect(report!.defectProbability).toBeGreaterThan(0);
    expect(report!.defectProbability).toBeLessThanOrEqual(1);
    for (const { type, confidence, attention } of report!.defects) {
      expect(['dent', 'hole']).toContain(type);
      expect(confidence).toBeGreaterThan(0);
      expect(confidence).toBeLessThanOrEqual(1);
      expect(attention!.rows * attention!.columns).toBe(PATCHES);
      expect(attention!.weights.reduce((a, b) => a + b)).toBeCloseTo(1, 4);
    }
    expect((await sharp(report!.heatMap).metadata()).format).toBe('png');
  }
}, 180_000);

test('a chat about two images is streamed to its end', async (t) => {
  if (!at) return t.skip();
  const images = [{ content: await randomImage(random) }, { content: await randomImage(random) }];
  const messages = [{ role: 'user', content: '<image> or <image>?' }];
  const parts = [];
  const sampling = { maxTokens: 4, ignoreEos: true };
  for await (const part of at.vision.chat({ model: 'eye', images, messages, sampling })) parts.push(part);
  expect(parts.at(-1)!.usage).toMatchObject({ outputTokens: 4 });
  expect(parts.at(-1)!.usage!.inputTokens).toBeGreaterThan(2 * PATCHES);
}, 120_000);
