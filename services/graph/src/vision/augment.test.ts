import { expect, test } from 'vitest';
import { between, generator, testSeed } from '../../test/random.ts';
import { augment, SMALL_CHANGES } from './augment.ts';

const random = generator(testSeed('changed images'));
const [width, height] = [between(random, 5, 20), between(random, 5, 20)];
const image = {
  width,
  height,
  channels: 3,
  data: Uint8Array.from({ length: width * height * 3 }, () => between(random, 0, 255)),
};
const NONE = { flip: false, crop: 1, brightness: 0, rotation: 0 };

test('no change leaves every byte', () => {
  expect(augment(image, NONE, random)).toEqual(image);
});

test('a flip puts left and right in one another’s place, half of the time', () => {
  const flipped = Uint8Array.from(image.data, (_, i) => {
    const [pixel, c] = [Math.floor(i / 3), i % 3];
    const [row, column] = [Math.floor(pixel / width), pixel % width];
    return image.data[(row * width + width - 1 - column) * 3 + c]!;
  });
  const seen = new Set<string>();
  for (let i = 0; i < 40; i++) seen.add(augment(image, { ...NONE, flip: true }, random).data.join());
  expect(seen).toEqual(new Set([image.data.join(), flipped.join()]));
});

test('brightness stays within its bound, and a turn or a cut invents no value', () => {
  const grey = { width: 9, height: 7, channels: 3, data: new Uint8Array(9 * 7 * 3).fill(100) };
  const changed = augment(grey, SMALL_CHANGES, random).data;
  expect(new Set(changed).size).toBe(1);
  expect(Math.abs(changed[0]! - 100)).toBeLessThanOrEqual(15);
  const turned = augment(image, { ...NONE, crop: 0.7, rotation: 20 }, random).data;
  expect(Math.min(...turned)).toBeGreaterThanOrEqual(Math.min(...image.data));
  expect(Math.max(...turned)).toBeLessThanOrEqual(Math.max(...image.data));
  expect(turned).not.toEqual(image.data);
});

test('what is drawn decides the result', () => {
  const seed = between(random, 0, 1e9);
  const once = augment(image, SMALL_CHANGES, generator(seed));
  expect(augment(image, SMALL_CHANGES, generator(seed))).toEqual(once);
});
