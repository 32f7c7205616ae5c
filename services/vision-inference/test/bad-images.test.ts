import { status } from '@grpc/grpc-js';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { between, generator, testSeed } from '../../graph/test/random.ts';
import { bomb, frames } from './hostile-images.ts';
import { answerOf, picture, seeing } from './seeing.ts';
import { type Stage, stage } from './stage.ts';

const random = generator(testSeed('bad images'));
const eye = seeing(() => ({ text: answerOf(['scratch', 'slight', [1, 2, 3, 4]]) }));
let at: Stage | undefined;
beforeAll(async () => {
  at = await stage({ eye });
}, 60_000);
afterAll(() => at?.[Symbol.asyncDispose]());

const BOMB = bomb(20_000, 20_000);
const NOISE = { width: 60, height: 60, channels: 3 } as const;
const noise = () => Buffer.from(Uint8Array.from({ length: 60 * 60 * 3 }, () => between(random, 0, 255)));
const cutOff = (bytes: Buffer) => bytes.subarray(0, Math.floor(bytes.length * 0.6));

const cases: [string, () => Promise<Buffer> | Buffer, RegExp][] = [
  ['a bomb of 20,000 by 20,000', () => BOMB, /20000 x 20000 pixels; at most 25000000/],
  ['10,000 frames', () => frames(10_000), /animation of 10000 frames/],
  ['a text', () => Buffer.from('hello'), /no PNG, JPEG or WebP/],
  [
    'a GIF',
    () => Buffer.from('47494638396101000100800000ffffff0000002c00000000010001000002024401003b', 'hex'),
    /no PNG/,
  ],
  [
    'an SVG that reads a file',
    () => Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'),
    /no PNG/,
  ],
  ['a PDF', () => Buffer.from('%PDF-1.7\n'), /no PNG/],
  ['a JPEG cut off', async () => cutOff(await sharp(noise(), { raw: NOISE }).jpeg().toBuffer()), /broken/],
  ['a PNG cut off', async () => cutOff(await picture(300, 300)), /broken/],
];

test.each(cases)('%s is refused by its field, and no model is asked', async (_, make, message) => {
  if (!at) return;
  const image = { content: await make() };
  eye.asked.length = 0;
  await expect(at.vision.inspect({ profile: 'surface', deployment: 'eye', image })).rejects.toMatchObject({
    ...{ code: status.INVALID_ARGUMENT, reason: 'BAD_IMAGE' },
    fieldViolations: [{ field: 'image.content', description: expect.stringMatching(message) }],
  });
  const chat = { model: 'eye', images: [image], messages: [{ role: 'user', content: 'what is this?' }] };
  await expect(drained(at.vision.chat(chat))).rejects.toMatchObject({
    ...{ code: status.INVALID_ARGUMENT, fieldViolations: [{ field: 'images[0].content' }] },
  });
  expect(eye.asked).toEqual([]);
});

async function drained(parts: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of parts);
}

test('bombs take no memory, and others are served beside them', async (t) => {
  if (!at) return t.skip();
  const inspect = (content: Buffer) =>
    at!.vision.inspect({ profile: 'surface', deployment: 'eye', image: { content } });
  const good = await picture();
  await inspect(good);
  const before = process.memoryUsage().rss;
  const bombs = Array.from({ length: 32 }, () => BOMB);
  const outcomes = await Promise.allSettled([...bombs.map(inspect), inspect(good)]);
  expect(outcomes.map(({ status: each }) => each)).toEqual([...bombs.map(() => 'rejected'), 'fulfilled']);
  expect(process.memoryUsage().rss - before).toBeLessThan(64 * 1024 * 1024);
});

test('whatever is broken in a picture, the answer is a report or a refusal by the field', async (t) => {
  if (!at) return t.skip();
  const types = [
    await sharp(await picture(40, 30))
      .jpeg()
      .toBuffer(),
    await picture(40, 30),
    await sharp(await picture(40, 30))
      .webp()
      .toBuffer(),
  ];
  for (let i = 0; i < 60; i++) {
    const content = Buffer.from(types[i % 3]!);
    for (let flips = between(random, 1, 6); flips > 0; flips--) {
      content[between(random, 0, content.length - 1)] = between(random, 0, 255);
    }
    const outcome = await at.vision
      .inspect({ profile: 'surface', deployment: 'eye', image: { content } })
      .then(
        ({ report }) => report!.id,
        (error) => error,
      );
    if (typeof outcome === 'string') continue;
    expect(outcome).toMatchObject({
      code: status.INVALID_ARGUMENT,
      fieldViolations: [{ field: 'image.content' }],
    });
    expect(outcome.message).not.toMatch(/vips|sharp|\/|node_modules/i);
  }
});
