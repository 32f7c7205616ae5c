import { cpSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { between, generator, testSeed } from '../../test/random.ts';
import { casesWith, readCase } from '../../test/reference-cases.ts';
import { readFloat32, type TensorSource, writeSafetensorsFrom } from '../checkpoint/safetensors.ts';
import { openClip, openLlava } from '../checkpoint/vision.ts';
import { readClipConfig } from '../models/clip-config.ts';
import { readLlavaConfig } from '../models/llava-config.ts';
import { CachedDecoder, type DecodeRow } from '../serving/cached-decoder.ts';
import { ImageTokens } from './image-tokens.ts';

const random = generator(testSeed('images among tokens'));
const folder = mkdtempSync(join(tmpdir(), 'landfall-vision-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const cases = casesWith('expected_forward.json').filter(
  ([, path]) => readCase<{ model_type: string }>(path, 'config.json').model_type === 'llava',
);

test.each(cases)('%s: an image cut by chunks, beside other lanes, gives the same bits', async (_, path) => {
  const checkpoint = openLlava(path);
  const { imageToken, language, vision } = checkpoint.config;
  const tower = await ImageTokens.create(checkpoint, { threads: 1, cacheFolder: folder });
  const pixels = Float32Array.from({ length: vision.channels * vision.imageSize ** 2 }, () => random() - 0.5);
  const image = await tower.run(pixels);
  const options = {
    threads: 1,
    cacheFolder: folder,
    blocks: 12,
    blockSize: 16,
    adapterSlots: 0,
    images: true,
  };
  const decoder = await CachedDecoder.create(checkpoint.language, options);
  const text = (length: number) =>
    Array.from({ length }, () => between(random, 0, Math.min(imageToken, language.vocabSize) - 1));
  const before = text(between(random, 1, 6));
  const tokens = [...before, ...new Array<number>(tower.count).fill(imageToken), ...text(3)];
  const row = (from: number, end: number, blockTable: number[]): DecodeRow => {
    const images = [{ from: before.length - from, tokens: image }];
    return {
      tokens: tokens.slice(from, end),
      start: from,
      blockTable,
      adapterSlot: 0,
      images,
      stepwise: false,
    };
  };
  const [whole] = await decoder.step([row(0, tokens.length, [0, 1, 2, 3])]);
  let chunked: Float32Array | undefined;
  for (let from = 0; from < tokens.length; ) {
    const end = Math.min(tokens.length, from + between(random, 1, 4));
    const other = { tokens: text(end - from), start: 0, blockTable: [8, 9], adapterSlot: 0, stepwise: false };
    [, chunked] = await decoder.step([other, row(from, end, [4, 5, 6, 7])]);
    from = end;
  }
  expect(Buffer.from(chunked!.buffer, chunked!.byteOffset, chunked!.byteLength)).toEqual(
    Buffer.from(whole!.buffer, whole!.byteOffset, whole!.byteLength),
  );
  const [blind] = await decoder.step([{ ...row(0, tokens.length, [0, 1, 2, 3]), images: [] }]);
  expect([...blind!]).not.toEqual([...whole!]);
  await decoder.release();
  await tower.release();

  const plain = await CachedDecoder.create(checkpoint.language, { ...options, images: false });
  await expect(plain.step([row(0, 2, [0])])).rejects.toThrow('without images');
  await plain.release();
});

/** How far a packed tower's rows may be from those of float32, of their length. */
const FAR = { int8: 0.03, int4: 0.3 };

test.each(
  cases.flatMap(([name, path]) => (['int8', 'int4'] as const).map((form) => [name, form, path] as const)),
)('%s: a tower of %s sees nearly the same, each image whatever is beside it', async (_, precision, path) => {
  const checkpoint = openLlava(path);
  const { channels, imageSize } = checkpoint.config.vision;
  const options = { threads: 1, cacheFolder: folder };
  const whole = await ImageTokens.create(checkpoint, options);
  const rounded = await ImageTokens.create(checkpoint, { ...options, precision });
  const size = channels * imageSize ** 2;
  const pixels = Float32Array.from({ length: 3 * size }, () => random() - 0.5);
  const [expected, seen] = [await whole.run(pixels), await rounded.run(pixels)];
  const error = Math.sqrt(seen.reduce((sum, value, i) => sum + (value - expected[i]!) ** 2, 0));
  const length = Math.sqrt(expected.reduce((sum, value) => sum + value ** 2, 0));
  expect(error / length).toBeLessThan(FAR[precision]);
  expect(error).toBeGreaterThan(0);
  const alone = await rounded.run(pixels.slice(size, 2 * size));
  expect([...alone]).toEqual([...seen.subarray(alone.length, 2 * alone.length)]);
  await whole.release();
  await rounded.release();
});

test('numbers of positions that older folders keep are no weights', () => {
  const path = join(import.meta.dirname, '../../test/fixtures/reference/clip');
  const { tensors } = openClip(path);
  const sources = [...tensors].map(([name, entry]): [string, TensorSource] => [
    name,
    { shape: entry.shape, read: () => readFloat32(entry.file, entry) },
  ]);
  const numbers: TensorSource = { shape: [1, 3], dtype: 'I8', read: () => Int8Array.of(0, 1, 2) };
  const older = join(folder, 'older');
  mkdirSync(older);
  cpSync(join(path, 'config.json'), join(older, 'config.json'));
  const all = new Map(sources).set('vision_model.embeddings.position_ids', numbers);
  writeSafetensorsFrom(join(older, 'model.safetensors'), all);
  expect([...openClip(older).tensors.keys()].sort()).toEqual([...tensors.keys()].sort());
});

test.each([
  [{ model_type: 'siglip' }, 'model_type siglip is not clip'],
  [
    { model_type: 'clip', vision_config: { model_type: 'siglip_vision_model' } },
    'siglip_vision_model is not supported',
  ],
  [
    { model_type: 'clip', vision_config: { hidden_act: 'relu' } },
    'vision_config.hidden_act relu is not supported',
  ],
  [{ model_type: 'clip', vision_config: { hidden_size: 50, num_attention_heads: 4 } }, 'must be a multiple'],
  [{ model_type: 'clip', vision_config: { patch_size: 32, image_size: 16 } }, 'larger than image_size'],
  [{ model_type: 'clip', text_config: [] }, 'text_config must be an object'],
])('a CLIP configuration that cannot be used: %j', (json, message) => {
  expect(() => readClipConfig(json)).toThrow(message);
});

const TEXT = {
  vocab_size: 64,
  hidden_size: 8,
  intermediate_size: 8,
  num_hidden_layers: 1,
  num_attention_heads: 2,
};

test.each([
  [{ vision_feature_layer: [1, -1] }, 'vision_feature_layer must be one whole number'],
  [{ vision_feature_layer: -30 }, 'vision_feature_layer -30 is not among 24 layers'],
  [{ vision_feature_select_strategy: 'cls' }, 'must be default or full'],
  [{ image_token_index: 64 }, 'outside the vocabulary of 64'],
  [{ projector_hidden_act: 'relu' }, 'projector_hidden_act relu is not supported'],
])('a LLaVA configuration that cannot be used: %j', (json, message) => {
  const good = { model_type: 'llava', text_config: TEXT, image_token_index: 3 };
  expect(readLlavaConfig(good)).toMatchObject({ featureLayer: 23, withClass: false, projectorBias: true });
  expect(() => readLlavaConfig({ ...good, ...json })).toThrow(message);
});
