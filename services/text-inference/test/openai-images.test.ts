/** Images and personal data that a server of OpenAI's API would see. */

import { randomBytes } from 'node:crypto';
import { status } from '@grpc/grpc-js';
import sharp from 'sharp';
import { describe, expect, test } from 'vitest';
import { mayLeave } from '../src/backends/personal-data.ts';
import { OpenAiBench, type Request, textOf } from './openai-bench.ts';
import { randomImage } from './tiny-llava.ts';
import { random } from './tiny-model.ts';

const seed = Number(process.env.LANDFALL_TEST_SEED) || randomBytes(4).readUInt32LE();
console.log(`LANDFALL_TEST_SEED=${seed}`);
const next = random(seed);

const bench = new OpenAiBench();

describe('images', () => {
  const shown = (asked: { body: Record<string, unknown> }) =>
    (asked.body.messages as { content: { type: string; text?: string; image_url?: { url: string } }[] }[])[0]!
      .content;
  const bytesOf = (url: string) => Buffer.from(url.slice(url.indexOf(',') + 1), 'base64');

  test('go in their places as data URLs, upright and without what a camera wrote', async () => {
    const image = await randomImage(next, 'jpeg');
    const tagged = await sharp(image)
      .withExif({ IFD0: { Artist: 'zhang-san' } })
      .withMetadata({ orientation: 6 })
      .toBuffer();
    const message = {
      role: 'user',
      content: 'compare <image> with <image>?',
      images: [image, new Uint8Array(tagged)],
    };
    expect(textOf(await bench.ask({ messages: [message] }))).toBe('你好');
    const parts = shown(bench.server.asked[0]!);
    expect(parts.map((part) => part.text ?? part.type)).toEqual([
      'compare ',
      'image_url',
      ' with ',
      'image_url',
      '?',
    ]);
    for (const { image_url: named } of parts.filter(({ type }) => type === 'image_url')) {
      expect(named!.url).toMatch(/^data:image\/jpeg;base64,/);
      const { exif, orientation } = await sharp(bytesOf(named!.url)).metadata();
      expect([exif, orientation]).toEqual([undefined, undefined]);
    }
    await bench.ask({ messages: [{ role: 'user', content: 'what?', images: [image] }] });
    expect(shown(bench.server.asked[1]!).map(({ type }) => type)).toEqual(['image_url', 'text']);
  });

  test('that can’t be read, or have no place, are refused by field, and the server hears of nothing', async () => {
    const image = await randomImage(next);
    for (const [message, field] of [
      [{ content: 'x', images: [image, image.slice(0, 60)] }, 'messages[0].images[1]'],
      [{ content: '<image><image>', images: [image] }, 'messages[0].content'],
    ] as const) {
      const request = { messages: [{ role: 'user', content: message.content, images: [...message.images] }] };
      expect(await bench.failure(request)).toMatchObject({
        code: status.INVALID_ARGUMENT,
        fieldViolations: [{ field }],
      });
    }
    expect(bench.server.asked).toHaveLength(0);
  });

  test('stay in the house, unless the operator says otherwise', async () => {
    const messages = [{ role: 'user', content: '这是什么?', images: [await randomImage(next)] }];
    await using remote = await bench.start({ remote: true });
    await expect(Array.fromAsync(remote.client.generate({ messages }))).rejects.toMatchObject({
      code: status.FAILED_PRECONDITION,
      reason: 'PERSONAL_DATA',
    });
    expect(bench.server.asked).toHaveLength(0);
    await using allowed = await bench.start({ remote: true, remoteImages: true });
    expect(textOf(await Array.fromAsync(allowed.client.generate({ messages })))).toBe('你好');
  });
});

describe('personal data', () => {
  test('stays in the house', async () => {
    await using remote = await bench.start({ remote: true });
    const id = '11010519491231002X';
    const asked = (request: Request) => Array.fromAsync(remote.client.generate(request));
    for (const request of [
      {
        messages: [
          { role: 'system', content: '简短' },
          { role: 'user', content: `张三,身份证${id},血压高` },
        ],
      },
      {
        messages: [
          { role: 'user', content: '我的电话是 138 1234 ' },
          { role: 'user', content: '5678' },
        ],
      },
      { prompt: 'write to zs@example.cn' },
      { prompt: 'x', sampling: { stop: ['zs@example.cn'] } },
      { prompt: 'x', constraint: { kind: { case: 'choice' as const, value: { options: [id, '否'] } } } },
    ]) {
      const error = await asked(request).then(
        () => undefined,
        (reason) => reason,
      );
      expect(error).toMatchObject({ code: status.FAILED_PRECONDITION, reason: 'PERSONAL_DATA' });
      expect(JSON.stringify([error.message, error.metadata])).not.toMatch(/110105|1381|zs@/);
    }
    expect(bench.server.asked).toHaveLength(0);
    expect(textOf(await asked({ prompt: '高血压患者日常饮食需要注意什么?' }))).toBe('你好');
    // A private server may see it.
    expect(textOf(await bench.ask({ prompt: `身份证${id}`, messages: [] }))).toBe('你好');
    expect(mayLeave('张三,电话 138 1234 5678')).toBe(false);
    expect(mayLeave('血压 150/95,每日 6 克盐')).toBe(true);
  });
});
