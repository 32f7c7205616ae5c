/** Exported folders that read images, of every family: what all of them keep. */

import { status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { FLORENCE_TOKENS, writeFlorence2 } from './exported/florence2.ts';
import { writeLlava } from './exported/llava.ts';
import { writePaliGemma } from './exported/paligemma.ts';
import { writeQwen2Vl } from './exported/qwen2-vl.ts';
import { reference, type Way } from './exported/reference.ts';
import { writeSmolVlm } from './exported/smolvlm.ts';
import { TestFolder, TestReplica, testConfig } from './harness.ts';
import { randomImage } from './tiny-llava.ts';
import { random } from './tiny-model.ts';

const seed = Number(process.env.LANDFALL_TEST_SEED) || Math.floor(Math.random() * 2 ** 31);
console.log(`LANDFALL_TEST_SEED=${seed}`);
const next = random(seed);

interface Case {
  make(folder: string): void;
  way: Way;
  /** Whether it takes several turns, and how many images it takes at once. */
  chats: boolean;
  images: number;
  /** Tokens of an image that the processor does not put into the text. */
  outside?: number;
}

const chat = { way: 'text first', chats: true, images: 2 } as const;
const FAMILIES: Record<string, Case> = {
  llava: { ...chat, way: 'image first', make: (folder) => writeLlava(folder, 'llava') },
  llava_onevision: { ...chat, way: 'image first', make: (folder) => writeLlava(folder, 'llava_onevision') },
  qwen2_vl: { ...chat, make: (folder) => writeQwen2Vl(folder) },
  smolvlm: { ...chat, make: (folder) => writeSmolVlm(folder, 'smolvlm') },
  idefics3: { ...chat, make: (folder) => writeSmolVlm(folder, 'idefics3') },
  paligemma: { make: writePaliGemma, way: 'image and bare text', chats: false, images: 2 },
  florence2: {
    make: writeFlorence2,
    way: 'image and bare text',
    chats: false,
    images: 1,
    outside: FLORENCE_TOKENS,
  },
};

const TIME = 240_000;
const TOKENS = 12;

describe.each(Object.entries(FAMILIES))('%s', (_, family) => {
  const folder = new TestFolder();
  let replica: TestReplica;
  beforeAll(async () => {
    family.make(folder.join('model'));
    replica = await TestReplica.start(
      testConfig(folder.join('home'), {
        maxQueue: 16,
        modelFolder: folder.join('model'),
        backend: { kind: 'transformersjs' },
      }),
    );
  }, TIME);
  afterAll(async () => {
    await replica?.[Symbol.asyncDispose]();
    folder[Symbol.dispose]();
  }, TIME);

  type Request = Exclude<Parameters<TestReplica['client']['generate']>[0], { $typeName: string }>;
  const question = '图里 what 是什么?';
  const showing = (...images: Uint8Array[]): Request['messages'] => [
    { role: 'user', content: question, images },
  ];
  async function ask(request: Request) {
    const sampling = { maxTokens: TOKENS, ignoreEos: true, topLogprobs: 0, ...request.sampling };
    const parts = await Array.fromAsync(replica.client.generate({ ...request, sampling }));
    const logprobs = parts.flatMap((part) => part.logprobs);
    return {
      text: parts.map((part) => part.delta).join(''),
      tokens: logprobs.map(({ bytes }) => [...bytes]),
      logprobs: logprobs.map(({ logprob }) => logprob),
      usage: parts.at(-1)!.usage!,
      parts,
    };
  }

  test('says what transformers.js says by itself', { timeout: TIME }, async () => {
    const image = await randomImage(next);
    const answer = await ask({ messages: showing(image) });
    const own = await reference(folder.join('model'), family.way, question, image, TOKENS);
    expect(answer.tokens).toEqual(own.tokens);
    expect(answer.usage).toMatchObject({
      inputTokens: own.inputTokens + (family.outside ?? 0),
      outputTokens: TOKENS,
    });
  });

  test('the image counts, and the order of several; a seed means the same', { timeout: TIME }, async () => {
    const [one, other] = [await randomImage(next), await randomImage(next)];
    const sampling = { temperature: 1, seed: BigInt(Math.floor(next() * 2 ** 31)), topLogprobs: 1 };
    const alone = await ask({ messages: showing(one), sampling });
    expect((await ask({ messages: showing(one), sampling })).logprobs).toEqual(alone.logprobs);
    const batch = await ask({ messages: showing(one), sampling: { ...sampling, n: 2 } });
    const first = batch.parts.filter(({ index }) => index === 0).map(({ delta }) => delta);
    expect(first.join('')).toBe(alone.text);
    expect((await ask({ messages: showing(other), sampling })).logprobs).not.toEqual(alone.logprobs);
    if (family.images < 2) {
      await expect(ask({ messages: showing(one, other) })).rejects.toMatchObject({
        code: status.INVALID_ARGUMENT,
        fieldViolations: [{ field: 'messages[0].images' }],
      });
      return;
    }
    const both = await ask({ messages: showing(one, other), sampling });
    const turned = await ask({ messages: showing(other, one), sampling });
    expect(both.usage.inputTokens).toBe(turned.usage.inputTokens);
    expect(both.usage.inputTokens).toBeGreaterThan(alone.usage.inputTokens);
    expect(both.logprobs).not.toEqual(turned.logprobs);
  });

  test('what came before counts, or is refused', { timeout: TIME }, async () => {
    const image = await randomImage(next);
    const turns = (said: string) => [
      ...showing(image)!,
      { role: 'assistant', content: said },
      { role: 'user', content: 'why?' },
    ];
    if (!family.chats) {
      await expect(ask({ messages: turns('a dent') })).rejects.toMatchObject({
        code: status.INVALID_ARGUMENT,
        fieldViolations: [{ field: 'messages' }],
      });
      return;
    }
    const sampling = { topLogprobs: 1 };
    const [dent, crack] = [
      await ask({ messages: turns('a dent'), sampling }),
      await ask({ messages: turns('a hole'), sampling }),
    ];
    expect(dent.usage.inputTokens).toBe(crack.usage.inputTokens);
    expect(dent.logprobs).not.toEqual(crack.logprobs);
  });

  test('scores what it says as it says it', { timeout: TIME }, async () => {
    const messages = showing(await randomImage(next));
    const constraint = { kind: { case: 'choice' as const, value: { options: ['a dent'] } } };
    const said = await ask({ messages, constraint, sampling: { ignoreEos: false, topLogprobs: 1 } });
    expect(said.text).toBe('a dent');
    const scored = await replica.client.score({ messages, completion: 'a dent' });
    expect(scored.tokens).toBe(said.logprobs.length);
    expect(scored.logProbability).toBeCloseTo(
      said.logprobs.reduce((sum, value) => sum + value, 0),
      2,
    );
  });

  test('stop strings, bad images and callers that leave', { timeout: TIME }, async () => {
    const image = await randomImage(next);
    const messages = showing(image);
    const spelt = { kind: { case: 'regex' as const, value: 'ab(cd)+' } };
    const stopped = await ask({ messages, constraint: spelt, sampling: { ignoreEos: false, stop: ['cd'] } });
    expect(stopped.text).toBe('ab');
    for (const [message, field] of [
      [{ content: 'x', images: [image.slice(0, 60)] }, 'messages[0].images[0]'],
      [{ content: '<image><image>x', images: [image] }, 'messages[0].content'],
      [{ content: 'x'.repeat(400), images: [image] }, 'messages'],
    ] as const) {
      const error = await ask({ messages: [{ role: 'user', ...message, images: [...message.images] }] }).then(
        () => undefined,
        (reason) => reason,
      );
      expect(error).toMatchObject({ code: status.INVALID_ARGUMENT });
      expect(error.fieldViolations[0].field).toContain(field);
    }
    const load = async () => (await replica.client.getLoad({})).load!;
    const left = replica.client.generate({ messages, sampling: { maxTokens: 90, ignoreEos: true } });
    for await (const _ of left) break;
    await expect.poll(async () => (await load()).running, { timeout: TIME / 2 }).toBe(0);
    expect((await ask({ messages, sampling: { maxTokens: 2 } })).usage.outputTokens).toBe(2);
  });
});
