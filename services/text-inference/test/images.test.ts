/** A replica over a model that reads images: through gRPC, with its own tower, tokenizer and chat template. */

import { status } from '@grpc/grpc-js';
import { RpcChannel } from '@landfall/common/rpc/client.ts';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { Kind } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import { TextInferenceService } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { signer, TestFolder, TestRegistry, TestReplica, testConfig } from './harness.ts';
import { PATCHES, randomImage, TOWER, writeTinyLlava } from './tiny-llava.ts';
import { random, writeTinyAdapter } from './tiny-model.ts';

const seed = Number(process.env.LANDFALL_TEST_SEED) || Math.floor(Math.random() * 2 ** 31);
console.log(`LANDFALL_TEST_SEED=${seed}`);
const next = random(seed);

const folder = new TestFolder();
const registry = new TestRegistry();
let replica: TestReplica;

beforeAll(async () => {
  await registry.start();
  writeTinyLlava(folder.join('base'));
  writeTinyAdapter(folder.join('adapter'), { seed: 5 });
  registry.versions.push(
    { name: 'base', version: '1.0.0', kind: Kind.BASE, folder: folder.join('base') },
    {
      name: 'tuned',
      version: '1.0.0',
      kind: Kind.ADAPTER,
      folder: folder.join('adapter'),
      base: 'models:/base/1.0.0',
    },
  );
  replica = await TestReplica.start(
    testConfig(folder.join('home'), { registryUrl: registry.address, blocks: 128, maxQueue: 32 }),
  );
});
afterAll(async () => {
  await replica?.[Symbol.asyncDispose]();
  await registry[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
});

type Request = Parameters<TestReplica['client']['generate']>[0];
/** A request as this test writes it. */
interface Asked {
  model: string;
  messages: { role: string; content: string; images?: Uint8Array[] }[];
  sampling: { maxTokens: number; ignoreEos: boolean };
}

function ask(content: string, images: Uint8Array[], more: Partial<Asked> = {}): Request {
  return {
    messages: [{ role: 'user', content, images }],
    sampling: { maxTokens: 8, ignoreEos: true, topLogprobs: 0 },
    ...more,
  };
}

async function answer(request: Request, on = replica) {
  const parts = await Array.fromAsync(on.client.generate(request));
  return {
    // Greedy texts of random weights often agree; their log-probabilities do not.
    logprobs: parts.flatMap((part) => part.logprobs.map(({ logprob }) => logprob)),
    usage: parts.at(-1)!.usage!,
    model: parts[0]!.model,
  };
}

describe('Generate with images', () => {
  test('an image counts its patches, and another image is answered otherwise', async () => {
    const [one, other] = [await randomImage(next), await randomImage(next)];
    const without = await answer(ask('what is this?', []));
    const first = await answer(ask('what is this?', [one]));
    // The image's patches and the line break behind them.
    expect(first.usage.inputTokens).toBe(without.usage.inputTokens + PATCHES + 1);
    const second = await answer(ask('what is this?', [other]));
    expect(second.logprobs).not.toEqual(first.logprobs);
    expect((await answer(ask('what is this?', [one]))).logprobs).toEqual(first.logprobs);
  });

  test('a place in the text is where the image stands; without one it stands before the text', async () => {
    const image = await randomImage(next);
    const placed = await answer(ask('<image>\nwhat is this?', [image]));
    expect((await answer(ask('what is this?', [image]))).logprobs).toEqual(placed.logprobs);
    expect((await answer(ask('what is <image>this?', [image]))).logprobs).not.toEqual(placed.logprobs);
  });

  test('PNG, JPEG and WebP of the same pixels, turned by EXIF or not, are the same image', async () => {
    const side = TOWER.imageSize * 2;
    const data = Buffer.from(Array.from({ length: 3 * side * side }, () => Math.floor(next() * 256)));
    const raw = () => sharp(data, { raw: { width: side, height: side, channels: 3 } });
    const png = new Uint8Array(await raw().png().toBuffer());
    const webp = new Uint8Array(await raw().webp({ lossless: true }).toBuffer());
    const turned = new Uint8Array(await raw().rotate(270).withMetadata({ orientation: 6 }).png().toBuffer());
    const expected = await answer(ask('?', [png]));
    expect((await answer(ask('?', [webp]))).logprobs).toEqual(expected.logprobs);
    expect((await answer(ask('?', [turned]))).logprobs).toEqual(expected.logprobs);
  });

  test('several images and turns, adapters and texts at once: each the answer that it has alone', async () => {
    const images = await Promise.all([1, 2, 3].map(() => randomImage(next, next() < 0.5 ? 'png' : 'jpeg')));
    const pick = () => images[Math.floor(next() * images.length)]!;
    const requests = Array.from({ length: 12 }, (): Request => {
      const model = next() < 0.4 ? 'models:/tuned/1.0.0' : '';
      const kind = next();
      if (kind < 0.3) return ask('no picture', [], { model });
      if (kind < 0.6) return ask('compare <image> with <image>', [pick(), pick()], { model });
      const turns = [
        { role: 'user', content: 'first <image>', images: [pick()] },
        { role: 'assistant', content: 'seen' },
        { role: 'user', content: 'and this?', images: [pick()] },
      ];
      return ask('', [], { model, messages: turns });
    });
    const together = await Promise.all(requests.map((request) => answer(request)));
    for (const [i, request] of requests.entries()) {
      const alone = await answer(request);
      expect(alone.logprobs).toEqual(together[i]!.logprobs);
      expect(alone.model).toBe(request!.model || 'models:/base/1.0.0');
    }
  });

  test('a second question about an image finds it and what stands before it; another tenant finds nothing', async () => {
    const image = await randomImage(next);
    const first = await answer(ask('<image>what?', [image]));
    const second = await answer(ask('<image>where exactly?', [image]));
    expect(first.usage.cachedTokens).toBeLessThan(PATCHES);
    expect(second.usage.cachedTokens).toBeGreaterThanOrEqual(PATCHES);
    const identity = { subject: 'service:other', tenant: 'other', role: Role.SERVICE };
    using channel = disposable(new RpcChannel(replica.address, { signer, identity }));
    const parts = await Array.fromAsync(
      channel.value.client(TextInferenceService).generate(ask('<image>where exactly?', [image])),
    );
    expect(parts.at(-1)!.usage!.cachedTokens).toBe(0);
  });

  test('what cannot be seen is INVALID_ARGUMENT by field, and other streams go on', async () => {
    const image = await randomImage(next);
    const beside = answer(ask('tell me more', [image], { sampling: { maxTokens: 80, ignoreEos: true } }));
    const bomb = await sharp({ create: { width: 5200, height: 5000, channels: 3, background: '#fff' } })
      .png()
      .toBuffer();
    const bad: [string, Request, string][] = [
      ['a place without an image', ask('<image>', []), 'messages[0].content'],
      ['more places than images', ask('<image> and <image>', [image]), 'messages[0].content'],
      ['a place in a text', { prompt: 'what is <image>?' }, 'prompt'],
      ['no image', ask('x', [new TextEncoder().encode('<svg/>')]), 'messages[0].images[0]'],
      ['half an image', ask('x', [image, image.slice(0, image.length / 2)]), 'messages[0].images[1]'],
      ['a bomb', ask('x', [new Uint8Array(bomb)]), 'messages[0].images[0]'],
      ['nothing at all', ask('', []), 'messages[0].content'],
      ['more images than the context has room for', ask('x', new Array(16).fill(image)), 'messages'],
    ];
    for (const [what, request, field] of bad) {
      const error = await answer(request).catch((e) => e);
      expect(error, what).toMatchObject({ code: status.INVALID_ARGUMENT });
      expect(
        error.fieldViolations.map((v: { field: string }) => v.field),
        what,
      ).toContain(field);
    }
    expect((await beside).usage.outputTokens).toBe(80);
    // An image may say all there is to say.
    expect((await answer(ask('', [image]))).usage.outputTokens).toBe(8);
  });

  test('a caller that leaves while its images wait leaves nothing behind', async () => {
    const controller = new AbortController();
    const images = await Promise.all(Array.from({ length: 4 }, () => randomImage(next, 'png', 200)));
    const leaving = answerUntil(ask('x', images), controller.signal).catch((e) => e);
    controller.abort();
    expect(await leaving).toBeInstanceOf(Error);
    expect((await answer(ask('x', [images[0]!]))).usage.outputTokens).toBe(8);
    await expect.poll(async () => (await replica.client.getLoad({})).load!.running).toBe(0);
  });

  test('Score takes images, too', async () => {
    const images = [await randomImage(next), await randomImage(next)];
    const scoreOf = async (image: Uint8Array) =>
      (
        await replica.client.score({
          messages: [{ role: 'user', content: 'what?', images: [image] }],
          completion: 'a dent',
        })
      ).logProbability;
    const [one, other] = [await scoreOf(images[0]!), await scoreOf(images[1]!)];
    expect(one).toBeLessThan(0);
    expect(other).not.toBe(one);
    expect(await scoreOf(images[0]!)).toBe(one);
  });

  test('a chat template that takes messages in parts puts the images in itself', async () => {
    writeTinyLlava(folder.join('parts'), { parts: true });
    await using own = await TestReplica.start(
      testConfig(folder.join('home2'), { modelFolder: folder.join('parts'), blocks: 64 }),
    );
    const image = await randomImage(next);
    // It sets every image before the text: the base's template does so with this place.
    const expected = await answer(ask('<image>\nwhat is this?', [image]));
    expect((await answer(ask('what is this?', [image]), own)).logprobs).toEqual(expected.logprobs);
    const text = await answer(ask('what is this?', []));
    expect((await answer(ask('what is this?', []), own)).logprobs).toEqual(text.logprobs);
  });
});

describe('Attend', () => {
  const request = async (more = {}) => ({
    messages: [
      {
        role: 'user',
        content: 'find <image> in <image>',
        images: [await randomImage(next), await randomImage(next)],
      },
    ],
    completion: '裂纹 at 12,30',
    spans: [
      { start: 0, end: 2 },
      { start: 6, end: 8 },
    ],
    ...more,
  });

  test('a map for each span and image, the same in company, another for an adapter', async () => {
    const asked = await request();
    const alone = await replica.client.attend(asked);
    expect(alone.model).toBe('models:/base/1.0.0');
    expect(alone.maps).toHaveLength(2);
    for (const { images } of alone.maps) {
      expect(images).toHaveLength(2);
      for (const { rows, columns, weights } of images) {
        expect(rows * columns).toBe(weights.length);
        expect(weights).toHaveLength(PATCHES);
        expect(weights.reduce((sum, weight) => sum + weight, 0)).toBeCloseTo(1, 5);
      }
    }
    expect(alone.maps[0]).not.toEqual(alone.maps[1]);
    const beside = answer(ask('go on', [], { sampling: { maxTokens: 60, ignoreEos: true } }));
    const [again, tuned] = await Promise.all([
      replica.client.attend(asked),
      replica.client.attend({ ...asked, model: 'models:/tuned/1.0.0' }),
    ]);
    expect(again.maps).toEqual(alone.maps);
    expect(tuned.maps).not.toEqual(alone.maps);
    expect((await beside).usage.outputTokens).toBe(60);
  });

  test('spans outside the completion and chats without images are INVALID_ARGUMENT by field', async () => {
    for (const [more, field] of [
      [{ spans: [{ start: 3, end: 3 }] }, 'spans[0]'],
      [
        {
          spans: [
            { start: 0, end: 1 },
            { start: 2, end: 99 },
          ],
        },
        'spans[1]',
      ],
      [{ spans: [] }, 'spans'],
      [{ messages: [{ role: 'user', content: 'x' }] }, 'messages'],
      [{ completion: 'x'.repeat(4000) }, 'completion'],
    ] as const) {
      const error = await replica.client.attend(await request(more)).catch((e) => e);
      expect(error, field).toMatchObject({ code: status.INVALID_ARGUMENT });
      expect(error.fieldViolations.map((v: { field: string }) => v.field)).toContain(field);
    }
  });
});

async function answerUntil(request: Request, signal: AbortSignal) {
  return Array.fromAsync(replica.client.generate(request, { signal }));
}

function disposable(value: RpcChannel) {
  return { value, [Symbol.dispose]: () => value.close() };
}
