import { crc32, deflateSync } from 'node:zlib';
import { status } from '@grpc/grpc-js';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { between, generator, testSeed } from '../../graph/test/random.ts';
import { answerOf, picture, seeing } from './seeing.ts';
import { type Stage, stage } from './stage.ts';

const random = generator(testSeed('bad images'));
const eye = seeing(() => ({ text: answerOf(['scratch', 'slight', [1, 2, 3, 4]]) }));
let at: Stage | undefined;
beforeAll(async () => {
  at = await stage({ eye });
}, 60_000);
afterAll(() => at?.[Symbol.asyncDispose]());

function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const out = Buffer.alloc(body.length + 8);
  out.writeUInt32BE(data.length);
  body.copy(out, 4);
  out.writeUInt32BE(crc32(body), out.length - 4);
  return out;
}

/** A PNG that says it is so large, of zeros that deflate to next to nothing. */
function bomb(width: number, height: number): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width);
  header.writeUInt32BE(height, 4);
  header.set([1, 0, 0, 0, 0], 8);
  const rows = deflateSync(Buffer.alloc((Math.ceil(width / 8) + 1) * Math.min(height, 20_000)));
  const magic = Buffer.from('89504e470d0a1a0a', 'hex');
  return Buffer.concat([magic, chunk('IHDR', header), chunk('IDAT', rows), chunk('IEND', Buffer.alloc(0))]);
}

/** A WebP whose header says that it is an animation, with so many empty frames. */
function frames(count: number): Buffer {
  const part = (name: string, data: Buffer) => {
    const head = Buffer.alloc(8);
    head.write(name, 'latin1');
    head.writeUInt32LE(data.length, 4);
    return Buffer.concat([head, data]);
  };
  const extended = Buffer.from([2, 0, 0, 0, 7, 0, 0, 7, 0, 0]);
  const list = Array.from({ length: count }, () => part('ANMF', Buffer.alloc(16)));
  const body = Buffer.concat([
    Buffer.from('WEBP'),
    part('VP8X', extended),
    part('ANIM', Buffer.alloc(6)),
    ...list,
  ]);
  return part('RIFF', body);
}

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
