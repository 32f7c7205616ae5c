import sharp from 'sharp';
import { expect, test } from 'vitest';
import { decodeImage } from './decode.ts';
import { paintedImage } from './painted.ts';

const white = (width: number, height: number) =>
  sharp({ create: { width, height, channels: 3, background: '#ffffff' } });

test.each(['png', 'jpeg', 'webp'] as const)('%s: areas are black, and nothing else', async (type) => {
  const bytes = await white(64, 48)[type]().toBuffer();
  const area = [
    { x: 8, y: 16 },
    { x: 32, y: 16 },
    { x: 32, y: 32 },
    { x: 8, y: 32 },
  ];
  const { width, height, rgb } = await decodeImage(await paintedImage(bytes, [area]));
  expect([width, height]).toEqual([64, 48]);
  const red = (x: number, y: number) => rgb[(y * 64 + x) * 3]!;
  for (const [x, y] of [
    [9, 17],
    [20, 24],
    [31, 31],
  ] as const)
    expect(red(x, y)).toBeLessThan(8);
  for (const [x, y] of [
    [2, 24],
    [40, 24],
    [20, 8],
    [20, 40],
  ] as const)
    expect(red(x, y)).toBeGreaterThan(247);
});

test('areas are places of the upright image, and slanted ones are filled to their edges', async () => {
  const bytes = await white(64, 48).withMetadata({ orientation: 6 }).png().toBuffer();
  const diamond = [
    { x: 24, y: 4 },
    { x: 44, y: 24 },
    { x: 24, y: 44 },
    { x: 4, y: 24 },
  ];
  const { width, height, rgb } = await decodeImage(await paintedImage(bytes, [diamond]));
  expect([width, height]).toEqual([48, 64]);
  const isBlack = (x: number, y: number) => rgb[(y * 48 + x) * 3] === 0;
  expect([isBlack(24, 5), isBlack(43, 24), isBlack(5, 24), isBlack(24, 43)]).toEqual([
    true,
    true,
    true,
    true,
  ]);
  expect([isBlack(7, 7), isBlack(41, 41), isBlack(24, 60)]).toEqual([false, false, false]);
});
