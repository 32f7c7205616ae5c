/** A replica that answers through a server of OpenAI's API: what it sends, and what it makes of answers. */

import { randomBytes } from 'node:crypto';
import { status } from '@grpc/grpc-js';
import { ConfigError } from '@landfall/common/config/env.ts';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { FinishReason } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import { describe, expect, test } from 'vitest';
import { readBackendConfig } from '../src/backends/backend-config.ts';
import { eventData } from '../src/backends/event-source.ts';
import { user } from './harness.ts';
import { OpenAiBench, textOf } from './openai-bench.ts';
import { chunk, event, openStream, says, usage } from './openai-server.ts';
import { random } from './tiny-model.ts';

const seed = Number(process.env.LANDFALL_TEST_SEED) || randomBytes(4).readUInt32LE();
console.log(`LANDFALL_TEST_SEED=${seed}`);
const next = random(seed);

const bench = new OpenAiBench();

describe('what it sends and what comes back', () => {
  test('a chat, with the key, the server’s own name of the model, and counts', async () => {
    const replies = await bench.ask({ sampling: { maxTokens: 9, stop: ['。'], seed: 2n ** 60n + 5n, n: 1 } });
    expect(textOf(replies)).toBe('你好');
    expect(replies[0]).toMatchObject({ model: 'models:/base/1.0.0' });
    expect(replies.at(-1)).toMatchObject({
      finishReason: FinishReason.STOP,
      usage: { inputTokens: 7, outputTokens: 2, cachedTokens: 3 },
      load: { base: 'models:/base/1.0.0', maxBatch: 4 },
    });
    expect(bench.server.asked).toMatchObject([
      {
        path: '/v1/chat/completions',
        headers: { authorization: `Bearer ${bench.key}` },
        body: {
          model: 'upstream',
          messages: [{ role: 'user', content: '你好?' }],
          stream: true,
          temperature: 0,
          max_tokens: 9,
          stop: ['。'],
          seed: 5,
        },
      },
    ]);
    await bench.ask({ messages: [], prompt: '从前' });
    expect(bench.server.asked[1]).toMatchObject({ path: '/v1/completions', body: { prompt: '从前' } });
    const { load } = await bench.replica.client.getLoad({});
    expect(load).toMatchObject({ running: 0, finished: 2n, outputTokens: 4n });
  });

  test('sampling and constraints under the names that servers know', async () => {
    const sampling = {
      temperature: 0.5,
      topP: 0.9,
      topK: 40,
      minP: 0.1,
      repetitionPenalty: 1.2,
      frequencyPenalty: 0.5,
      presencePenalty: -0.5,
      logitBias: { 7: 3 },
      topLogprobs: 2,
      ignoreEos: true,
    };
    await bench.ask({ sampling, constraint: { kind: { case: 'jsonSchema', value: '{"type":"integer"}' } } });
    expect(bench.server.asked[0]!.body).toMatchObject({
      temperature: 0.5,
      top_p: 0.9,
      top_k: 40,
      min_p: 0.1,
      repetition_penalty: 1.2,
      frequency_penalty: 0.5,
      presence_penalty: -0.5,
      logit_bias: { 7: 3 },
      logprobs: true,
      top_logprobs: 2,
      ignore_eos: true,
      response_format: { type: 'json_schema', json_schema: { schema: { type: 'integer' } } },
    });
    await bench.ask({ constraint: { kind: { case: 'choice', value: { options: ['是', '否'] } } } });
    expect(bench.server.asked[1]!.body).toMatchObject({ guided_choice: ['是', '否'] });
  });

  test('what a server is not known to keep is refused by name, before it is asked', async () => {
    await using strict = await bench.start({ extensions: false });
    const asking = Array.fromAsync(strict.client.generate({ prompt: 'x', sampling: { topK: 5 } }));
    await expect(asking).rejects.toMatchObject({
      code: status.UNIMPLEMENTED,
      reason: 'BACKEND_EXTENSION',
      metadata: { parameter: 'top_k' },
    });
    expect(bench.server.asked).toHaveLength(0);
  });

  test('several answers, their log-probabilities, and text cut anywhere', async () => {
    bench.server.answers = [
      async (response, asked) => {
        openStream(response);
        const logprobs = {
          content: [
            {
              token: '高',
              bytes: [233, 171, 152],
              logprob: -0.25,
              top_logprobs: [{ token: '高', logprob: -0.25 }],
            },
          ],
        };
        const whole = Buffer.from(
          chunk(asked, '高', null, { logprobs }) +
            chunk(asked, '低', null, { index: 1 }).replaceAll('\n', '\r\n') +
            chunk(asked, '', 'length', { index: 1 }) +
            chunk(asked, '血压', 'stop') +
            usage(4, 3) +
            event('[DONE]'),
        );
        for (let at = 0; at < whole.length; ) {
          const size = 1 + Math.floor(next() * 7);
          if (!response.write(whole.subarray(at, at + size)))
            await new Promise((go) => response.once('drain', go));
          at += size;
        }
        response.end();
      },
    ];
    const replies = await bench.ask({ sampling: { n: 2, topLogprobs: 1 } });
    const of = (index: number) => replies.filter((reply) => reply.index === index);
    expect(
      of(0)
        .map((reply) => reply.delta)
        .join(''),
    ).toBe('高血压');
    expect(of(0).at(-1)).toMatchObject({ finishReason: FinishReason.STOP, usage: { outputTokens: 3 } });
    expect(
      of(1)
        .map((reply) => reply.delta)
        .join(''),
    ).toBe('低');
    expect(of(1).at(-1)!.finishReason).toBe(FinishReason.LENGTH);
    expect(replies.filter((reply) => reply.usage)).toHaveLength(1);
    expect(of(0)[0]!.logprobs).toMatchObject([{ token: '高', logprob: -0.25, top: [{ token: '高' }] }]);
  });

  test('adapters go by the name that the server lists', async () => {
    bench.server.models.push('models:/exact/2.0.0', 'versioned/1.0.0');
    for (const [model, name] of [
      ['models:/medical-qa/1.0.0', 'medical-qa'],
      ['models:/exact/2.0.0', 'models:/exact/2.0.0'],
      ['models:/versioned/1.0.0', 'versioned/1.0.0'],
    ] as const) {
      const replies = await bench.ask({ model });
      expect(replies[0]!.model).toBe(model);
      expect(bench.server.asked.at(-1)!.body.model).toBe(name);
    }
    const again = await bench.replica.client.loadAdapter({ model: 'medical-qa/1.0.0' });
    expect(again).toMatchObject({ model: 'models:/medical-qa/1.0.0', alreadyLoaded: true });
    expect((await bench.replica.client.getLoad({})).load!.adapters).toContain('models:/medical-qa/1.0.0');
    expect(await bench.replica.client.unloadAdapter({ model: 'models:/medical-qa/1.0.0' })).toMatchObject({
      unloaded: true,
    });
    expect(await bench.replica.client.unloadAdapter({ model: 'models:/medical-qa/1.0.0' })).toMatchObject({
      unloaded: false,
    });
    const model = 'models:/nobody/1.0.0';
    for (const call of [() => bench.ask({ model }), () => bench.replica.client.loadAdapter({ model })])
      await expect(call()).rejects.toMatchObject({ code: status.NOT_FOUND });
  });

  test('load is watched, and other tenants see nothing', async () => {
    const controller = new AbortController();
    const seen: number[] = [];
    const watching = (async () => {
      for await (const { load } of bench.replica.client.watchLoad(
        { intervalMs: 1 },
        { signal: controller.signal },
      ))
        seen.push(load!.running);
    })().catch(() => {});
    await expect.poll(() => seen.length).toBe(1);
    const release = Promise.withResolvers<void>();
    bench.server.answers = [
      async (response, asked) => release.promise.then(() => says(['x'])(response, asked)),
    ];
    const asking = bench.ask();
    await expect.poll(() => seen.at(-1)).toBe(1);
    release.resolve();
    await asking;
    await expect.poll(() => seen.at(-1)).toBe(0);
    controller.abort();
    await watching;
    const stranger = { ...user, tenant: 'other', role: Role.ADMIN };
    await expect(bench.replica.client.getLoad({}, { identity: stranger })).rejects.toMatchObject({
      code: status.NOT_FOUND,
    });
  });
});

test('the event parser keeps to the standard, however its bytes are cut', async () => {
  const text =
    ': hi\r\n\r\ndata:a\r\ndata: b\r\n\r\nevent: x\ndata\ndata:  c\n\nid: 1\rdata: 高\r\rdata: cut off';
  for (let i = 0; i < 200; i++) {
    const bytes = Buffer.from(text);
    async function* pieces() {
      for (let at = 0; at < bytes.length; ) {
        const size = 1 + Math.floor(next() * 9);
        yield bytes.subarray(at, at + size);
        at += size;
      }
    }
    expect(await Array.fromAsync(eventData(pieces(), 1000))).toEqual(['a\nb', ' c', '高']);
  }
});

test('the configuration is checked, and never shows what may be a key', () => {
  const env = { LANDFALL_TEXT_BACKEND: 'openai', LANDFALL_TEXT_BACKEND_MODEL: 'm' };
  const read = (more: Record<string, string>) => readBackendConfig({ ...env, ...more });
  expect(read({ LANDFALL_TEXT_BACKEND_URL: 'http://10.0.0.5:8000/v1/' })).toMatchObject({
    url: 'http://10.0.0.5:8000/v1',
    remote: false,
  });
  for (const url of [
    '',
    'vllm',
    'file:///etc/passwd',
    'https://user:sk-1@example.com',
    'https://example.com/?key=sk-1',
  ]) {
    const reading = () => read({ LANDFALL_TEXT_BACKEND_URL: url });
    expect(reading).toThrow(ConfigError);
    expect(reading).not.toThrow(/sk-1/);
  }
  const remote = { LANDFALL_TEXT_BACKEND_REMOTE: '1' };
  expect(() => read({ ...remote, LANDFALL_TEXT_BACKEND_URL: 'http://api.example.com/v1' })).toThrow(/https/);
  expect(read({ ...remote, LANDFALL_TEXT_BACKEND_URL: 'https://api.example.com/v1' })).toMatchObject({
    remote: true,
  });
  expect(() => readBackendConfig({ LANDFALL_TEXT_BACKEND: 'vllm' })).toThrow(ConfigError);
});
