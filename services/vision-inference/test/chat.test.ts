import { status } from '@grpc/grpc-js';
import { FinishReason } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import type { GenerateRequest } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { picture } from './seeing.ts';
import { type Replica, type Stage, stage } from './stage.ts';

let at: Stage | undefined;
let asked: GenerateRequest | undefined;
let stopped: (() => void) | undefined;
const talks: Replica = {
  async *generate(request, { signal }) {
    asked = request;
    yield { model: 'models:/talks/1.0.0' };
    yield { delta: '一只' };
    if (stopped) {
      await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
      stopped();
      return;
    }
    yield { delta: '猫。' };
    yield { finishReason: FinishReason.STOP, usage: { inputTokens: 7, outputTokens: 2 } };
  },
};

beforeAll(async () => {
  at = await stage({ talks });
}, 60_000);
afterAll(() => at?.[Symbol.asyncDispose]());

test('a chat of several turns and images is answered as it is written', async (t) => {
  if (!at) return t.skip();
  const images = [{ content: await picture(20, 10, 1) }, { content: await picture(20, 10, 2) }];
  const messages = [
    { role: 'user', content: '<image>\n这是什么?' },
    { role: 'assistant', content: '一只狗。' },
    { role: 'user', content: '<image>\n那么这个呢?' },
  ];
  const parts = [];
  const sampling = { temperature: 0.5, maxTokens: 9 };
  for await (const part of at.vision.chat({ model: 'talks', images, messages, sampling })) parts.push(part);
  expect(parts.map(({ delta }) => delta).join('')).toBe('一只猫。');
  expect(parts.at(-1)).toMatchObject({ finishReason: FinishReason.STOP, usage: { inputTokens: 7 } });
  expect(asked!.messages.map(({ content, images: own }) => [content, own.length])).toEqual([
    ['<image>\n这是什么?', 1],
    ['一只狗。', 0],
    ['<image>\n那么这个呢?', 1],
  ]);
  expect(asked!.sampling).toMatchObject(sampling);
});

test('who leaves stops the replica', async (t) => {
  if (!at) return t.skip();
  const ended = new Promise<void>((resolve) => {
    stopped = resolve;
  });
  for await (const { delta } of at.vision.chat({
    model: 'talks',
    messages: [{ role: 'user', content: 'x' }],
  })) {
    if (delta !== '') break;
  }
  await ended;
  stopped = undefined;
});

test('a chat without a model is refused', async (t) => {
  if (!at) return t.skip();
  const parts = at.vision.chat({ messages: [{ role: 'user', content: 'x' }] })[Symbol.asyncIterator]();
  await expect(parts.next()).rejects.toMatchObject({
    ...{ code: status.INVALID_ARGUMENT, fieldViolations: [{ field: 'model' }] },
  });
});
