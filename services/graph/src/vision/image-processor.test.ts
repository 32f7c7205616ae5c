import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { between, generator, testSeed } from '../../test/random.ts';
import { pixelValues, readImageProcessor } from './image-processor.ts';
import { type Filter, type Pixels, resize } from './resample.ts';

interface Case {
  width: number;
  height: number;
  filter: Filter;
  to: [number, number];
  /** RGB bytes in base64. */
  data: string;
  resized: string;
}

/** Random images with hard edges, made with Pillow 9.4. */
const cases = JSON.parse(
  readFileSync(join(import.meta.dirname, 'fixtures', 'resized.json'), 'utf8'),
) as Case[];
const pixels = ({ width, height, data }: Case): Pixels => ({
  width,
  height,
  channels: 3,
  data: Buffer.from(data, 'base64'),
});

test.each(
  cases.map((one) => [`${one.width}x${one.height} to ${one.to.join('x')}, ${one.filter}`, one] as const),
)('every byte is Pillow’s: %s', (_, one) => {
  const { width, height, data } = resize(pixels(one), one.to[0], one.to[1], one.filter);
  expect([width, height]).toEqual(one.to);
  expect(Buffer.from(data).equals(Buffer.from(one.resized, 'base64'))).toBe(true);
});

test('a window of the result is what the whole has there', () => {
  const random = generator(testSeed('a window of the result'));
  for (let trial = 0; trial < 60; trial++) {
    const [width, height] = [between(random, 1, 50), between(random, 1, 50)];
    const [wide, high] = [between(random, 1, 70), between(random, 1, 70)];
    const data = Uint8Array.from({ length: width * height * 3 }, () => random() * 256);
    const image = { width, height, channels: 3, data };
    const filter = (['bilinear', 'bicubic', 'lanczos'] as const)[trial % 3]!;
    const [left, top] = [between(random, 0, wide - 1), between(random, 0, high - 1)];
    const window = {
      left,
      top,
      width: between(random, 1, wide - left),
      height: between(random, 1, high - top),
    };
    const whole = resize(image, wide, high, filter);
    const part = resize(image, wide, high, filter, window);
    expect(part).toMatchObject({ width: window.width, height: window.height });
    for (let y = 0; y < window.height; y++) {
      const from = ((y + top) * wide + left) * 3;
      const row = whole.data.subarray(from, from + window.width * 3);
      const found = part.data.subarray(y * window.width * 3, (y + 1) * window.width * 3);
      expect(Buffer.from(found).equals(row), JSON.stringify({ width, height, wide, high, window })).toBe(
        true,
      );
    }
  }
});

test('the shorter side is resized, the middle cut out, each channel normalised', () => {
  const [first] = cases;
  const json = { size: { shortest_edge: 20 }, crop_size: { width: 20, height: 20 } };
  const values = pixelValues(readImageProcessor(json), pixels(first!));
  // 13 x 29 becomes 20 x 44, of which rows 12 to 31 are kept.
  const sized = resize(pixels(first!), 20, 44, 'bicubic');
  const mean = [0.48145466, 0.4578275, 0.40821073];
  const std = [0.26862954, 0.26130258, 0.27577711];
  let worst = 0;
  for (let i = 0; i < values.length; i++) {
    const [c, y, x] = [Math.floor(i / 400), Math.floor((i % 400) / 20), i % 20];
    const byte = sized.data[((y + 12) * 20 + x) * 3 + c]!;
    worst = Math.max(worst, Math.abs(values[i]! - (byte / 255 - mean[c]!) / std[c]!));
  }
  expect(values.length).toBe(1200);
  expect(worst).toBeLessThan(1e-6);
});

test('a cut larger than the image has black around it', () => {
  const json = { do_resize: false, do_normalize: false, crop_size: { width: 4, height: 4 } };
  const image = { width: 2, height: 2, channels: 3, data: new Uint8Array(12).fill(255) };
  const values = pixelValues(readImageProcessor(json), image);
  expect([...values.subarray(0, 16)]).toEqual([0, 0, 0, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 0, 0, 0]);
});

test.each([
  [{ resample: 0 }, 'resample 0 is not supported'],
  [{ size: { longest_edge: 4 } }, 'size.longest_edge is not supported'],
  [{ size: { shortest_edge: 0 } }, 'size.shortest_edge must be a whole number'],
  [{ crop_size: { shortest_edge: 3 } }, 'crop_size must have height and width'],
  [{ image_std: [1, 0, 1] }, 'image_std must be above 0'],
  [{ image_mean: [1, 2] }, 'image_mean must be three numbers'],
])('a configuration that cannot be used: %j', (json, message) => {
  expect(() => readImageProcessor(json)).toThrow(message);
});
