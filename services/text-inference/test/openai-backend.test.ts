/** A replica that answers through a server of OpenAI's API: what it sends, what it makes of answers, and of faults. */

import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { status } from '@grpc/grpc-js';
import { ConfigError } from '@landfall/common/config/env.ts';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { FinishReason } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import type { GenerateResponse } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type OpenAiConfig, readBackendConfig } from '../src/backends/backend-config.ts';
import { eventData } from '../src/backends/event-source.ts';
import { mayLeave } from '../src/backends/personal-data.ts';
import { TestFolder, TestReplica, testConfig, user } from './harness.ts';
import {
  type Answer,
  type Asked,
  chunk,
  event,
  OpenAiTestServer,
  openStream,
  refuses,
  says,
  sends,
  usage,
} from './openai-server.ts';
import { random } from './tiny-model.ts';

const seed = Number(process.env.LANDFALL_TEST_SEED) || randomBytes(4).readUInt32LE();
console.log(`LANDFALL_TEST_SEED=${seed}`);
const next = random(seed);

const folder = new TestFolder();
let server: OpenAiTestServer;
let replica: TestReplica;

afterAll(() => folder[Symbol.dispose]());

const key = `sk-${randomBytes(12).toString('hex')}`;
async function start(more: Partial<OpenAiConfig> = {}): Promise<TestReplica> {
  const backend: OpenAiConfig = {
    kind: 'openai',
    url: server.url,
    key,
    model: 'upstream',
    remote: false,
    extensions: true,
    silenceMs: 5000,
    answerMs: 30_000,
    maxAnswerBytes: 1024 * 1024,
    ...more,
  };
  return TestReplica.start(testConfig(folder.join('home'), { backend }));
}
beforeEach(async () => {
  server = await OpenAiTestServer.start();
  replica = await start();
});
afterEach(async () => {
  await replica[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

type Request = Parameters<TestReplica['client']['generate']>[0];
const ask = (request: Request = {}): Promise<GenerateResponse[]> =>
  Array.fromAsync(replica.client.generate({ messages: [{ role: 'user', content: '你好?' }], ...request }));
const failure = (request: Request = {}) =>
  ask(request).then(
    () => undefined,
    (error) => error,
  );
const textOf = (replies: GenerateResponse[]) => replies.map((reply) => reply.delta).join('');

describe('what it sends and what comes back', () => {
  test('a chat, with the key, the server’s own name of the model, and counts', async () => {
    const replies = await ask({ sampling: { maxTokens: 9, stop: ['。'], seed: 2n ** 60n + 5n, n: 1 } });
    expect(textOf(replies)).toBe('你好');
    expect(replies[0]).toMatchObject({ model: 'models:/base/1.0.0' });
    expect(replies.at(-1)).toMatchObject({
      finishReason: FinishReason.STOP,
      usage: { inputTokens: 7, outputTokens: 2, cachedTokens: 3 },
      load: { base: 'models:/base/1.0.0', maxBatch: 4 },
    });
    expect(server.asked).toMatchObject([
      {
        path: '/v1/chat/completions',
        headers: { authorization: `Bearer ${key}` },
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
    await ask({ messages: [], prompt: '从前' });
    expect(server.asked[1]).toMatchObject({ path: '/v1/completions', body: { prompt: '从前' } });
    const { load } = await replica.client.getLoad({});
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
    await ask({ sampling, constraint: { kind: { case: 'jsonSchema', value: '{"type":"integer"}' } } });
    expect(server.asked[0]!.body).toMatchObject({
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
    await ask({ constraint: { kind: { case: 'choice', value: { options: ['是', '否'] } } } });
    expect(server.asked[1]!.body).toMatchObject({ guided_choice: ['是', '否'] });
  });

  test('what a server is not known to keep is refused by name, before it is asked', async () => {
    await using strict = await start({ extensions: false });
    const asking = Array.fromAsync(strict.client.generate({ prompt: 'x', sampling: { topK: 5 } }));
    await expect(asking).rejects.toMatchObject({
      code: status.UNIMPLEMENTED,
      reason: 'BACKEND_EXTENSION',
      metadata: { parameter: 'top_k' },
    });
    expect(server.asked).toHaveLength(0);
  });

  test('several answers, their log-probabilities, and text cut anywhere', async () => {
    server.answers = [
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
    const replies = await ask({ sampling: { n: 2, topLogprobs: 1 } });
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
    server.models.push('models:/exact/2.0.0', 'versioned/1.0.0');
    for (const [model, name] of [
      ['models:/medical-qa/1.0.0', 'medical-qa'],
      ['models:/exact/2.0.0', 'models:/exact/2.0.0'],
      ['models:/versioned/1.0.0', 'versioned/1.0.0'],
    ] as const) {
      const replies = await ask({ model });
      expect(replies[0]!.model).toBe(model);
      expect(server.asked.at(-1)!.body.model).toBe(name);
    }
    const again = await replica.client.loadAdapter({ model: 'medical-qa/1.0.0' });
    expect(again).toMatchObject({ model: 'models:/medical-qa/1.0.0', alreadyLoaded: true });
    expect((await replica.client.getLoad({})).load!.adapters).toContain('models:/medical-qa/1.0.0');
    expect(await replica.client.unloadAdapter({ model: 'models:/medical-qa/1.0.0' })).toMatchObject({
      unloaded: true,
    });
    expect(await replica.client.unloadAdapter({ model: 'models:/medical-qa/1.0.0' })).toMatchObject({
      unloaded: false,
    });
    const model = 'models:/nobody/1.0.0';
    for (const call of [() => ask({ model }), () => replica.client.loadAdapter({ model })])
      await expect(call()).rejects.toMatchObject({ code: status.NOT_FOUND });
  });

  test('load is watched, a score is refused with its reason, and other tenants see nothing', async () => {
    const controller = new AbortController();
    const seen: number[] = [];
    const watching = (async () => {
      for await (const { load } of replica.client.watchLoad({ intervalMs: 1 }, { signal: controller.signal }))
        seen.push(load!.running);
    })().catch(() => {});
    await expect.poll(() => seen.length).toBe(1);
    const release = Promise.withResolvers<void>();
    server.answers = [async (response, asked) => release.promise.then(() => says(['x'])(response, asked))];
    const asking = ask();
    await expect.poll(() => seen.at(-1)).toBe(1);
    release.resolve();
    await asking;
    await expect.poll(() => seen.at(-1)).toBe(0);
    controller.abort();
    await watching;
    await expect(replica.client.score({ prompt: 'a', completion: 'b' })).rejects.toMatchObject({
      code: status.UNIMPLEMENTED,
      reason: 'BACKEND_CANNOT_SCORE',
    });
    const stranger = { ...user, tenant: 'other', role: Role.ADMIN };
    await expect(replica.client.getLoad({}, { identity: stranger })).rejects.toMatchObject({
      code: status.NOT_FOUND,
    });
  });
});

describe('faults', () => {
  test.each([
    [
      'full, with a time to come again',
      refuses(429, {}, { 'retry-after-ms': '3500' }),
      status.RESOURCE_EXHAUSTED,
      1,
    ],
    ['full for good', refuses(429, {}, { 'retry-after-ms': '1' }), status.RESOURCE_EXHAUSTED, 3],
    ['failing', refuses(500), status.UNAVAILABLE, 3],
    ['overloaded', refuses(503), status.UNAVAILABLE, 3],
    ['refusing the key', refuses(401), status.FAILED_PRECONDITION, 1],
    ['without the model', refuses(404), status.NOT_FOUND, 1],
    ['refusing a parameter', refuses(400, { param: 'temperature' }), status.INVALID_ARGUMENT, 1],
    ['out of context', refuses(400, { code: 'context_length_exceeded' }), status.INVALID_ARGUMENT, 1],
    ['refusing what it read', refuses(422), status.INVALID_ARGUMENT, 1],
  ])('a server that is %s', async (_what, answer, code, attempts) => {
    server.answers = [answer];
    const error = await failure();
    expect(error).toMatchObject({ code });
    expect(server.asked).toHaveLength(attempts);
    if (code === status.RESOURCE_EXHAUSTED) expect(error.retryAfterMs).toBeGreaterThan(0);
    expect(`${error.message} ${JSON.stringify(error.metadata)}`).not.toMatch(/srv|secret|127\.0|sk-/);
  });

  test('asks again before the first token, never behind it', async () => {
    const cut =
      (text: string): Answer =>
      (response, asked) => {
        openStream(response);
        response.write(chunk(asked, ''));
        if (text) response.write(chunk(asked, text));
        setImmediate(() => response.destroy());
      };
    server.answers = [refuses(502), cut(''), says(['好'])];
    expect(textOf(await ask())).toBe('好');
    expect(server.asked).toHaveLength(3);
    server.answers = [cut('半')];
    expect(await failure()).toMatchObject({ code: status.UNAVAILABLE, reason: 'BACKEND_LOST' });
    expect(server.asked).toHaveLength(4);
  });

  test('retries stay within their budget', async () => {
    server.answers = [refuses(500)];
    for (let i = 0; i < 10; i++) await failure();
    // Ten requests, the three that a quiet client has, and a fifth of ten.
    expect(server.asked.length).toBeLessThanOrEqual(10 + 3 + 2);
  });

  test.each<[string, Answer]>([
    ['no stream', (response) => void response.writeHead(200, { 'content-type': 'text/html' }).end('<html>')],
    ['no JSON', sends(event('{'))],
    ['a list', sends(event('[]'))],
    ['no choices', sends(event({}))],
    ['a choice that nobody asked for', sends((asked) => chunk(asked, 'x', null, { index: 7 }))],
    ['a number for text', sends(event({ choices: [{ index: 0, delta: { content: 5 } }] }))],
    ['no end', sends((asked) => chunk(asked, 'x') + event('[DONE]'))],
    ['other bytes than UTF-8', sends(Buffer.from([0x64, 0xff, 0x0a]))],
  ])('a server that sends %s', async (_what, answer) => {
    server.answers = [answer];
    expect(await failure()).toMatchObject({ code: status.UNAVAILABLE, reason: 'BACKEND_PROTOCOL' });
    expect(server.asked).toHaveLength(1);
    server.answers = [says(['好'])];
    expect(textOf(await ask())).toBe('好');
  });

  test('answers and events without end are cut off', async () => {
    const endless =
      (piece: (asked: Asked) => string): Answer =>
      async (response, asked) => {
        openStream(response);
        function* pieces() {
          for (;;) yield piece(asked);
        }
        await pipeline(Readable.from(pieces()), response).catch(() => {});
      };
    for (const piece of [
      (asked: Asked) => chunk(asked, 'x'.repeat(1000)),
      () => `data: ${'x'.repeat(10_000)}`,
    ]) {
      server.answers = [endless(piece)];
      expect(await failure()).toMatchObject({ code: status.UNAVAILABLE, reason: 'BACKEND_PROTOCOL' });
    }
    await expect.poll(() => server.left).toBe(2);
  });

  test('a redirect is not followed', async () => {
    await using elsewhere = await OpenAiTestServer.start();
    server.answers = [refuses(307, {}, { location: `${elsewhere.url}/chat/completions` })];
    expect(await failure()).toMatchObject({ code: status.FAILED_PRECONDITION, reason: 'BACKEND_REDIRECTS' });
    expect(elsewhere.asked).toHaveLength(0);
  });

  test('silence ends a wait, before the first byte and between two tokens; slow is not silent', async () => {
    await using impatient = await start({ silenceMs: 300 });
    const prompt = () => Array.fromAsync(impatient.client.generate({ prompt: 'x' }));
    const halves: Answer = (response, asked) => {
      openStream(response);
      response.write(chunk(asked, 'x'));
    };
    for (const answer of [() => {}, halves]) {
      server.answers = [answer];
      await expect(prompt()).rejects.toMatchObject({ code: status.UNAVAILABLE, reason: 'BACKEND_SILENT' });
    }
    server.answers = [
      async (response, asked) => {
        openStream(response);
        for (const part of 'slowly') {
          response.write(chunk(asked, part));
          await new Promise((go) => setTimeout(go, 100));
        }
        response.end(chunk(asked, '', 'stop') + event('[DONE]'));
      },
    ];
    expect(textOf(await prompt())).toBe('slowly');
  });

  test('an answer may take so long in all', async () => {
    await using impatient = await start({ answerMs: 500 });
    server.answers = [
      async (response, asked) => {
        openStream(response);
        while (!response.destroyed) {
          response.write(chunk(asked, 'x'));
          await new Promise((go) => setTimeout(go, 50));
        }
      },
    ];
    const answer = Array.fromAsync(impatient.client.generate({ prompt: 'x' }));
    await expect(answer).rejects.toMatchObject({ reason: 'BACKEND_SILENT' });
  });

  test('a caller that leaves closes the connection, in the answer and in the wait for it', async () => {
    server.answers = [
      (response, asked) => {
        openStream(response);
        response.write(chunk(asked, 'x'));
      },
      () => {},
    ];
    for await (const _ of replica.client.generate({ prompt: 'x' })) break;
    await expect.poll(() => server.left).toBe(1);
    const controller = new AbortController();
    const waiting = Array.fromAsync(replica.client.generate({ prompt: 'x' }, { signal: controller.signal }));
    const ended = expect(waiting).rejects.toMatchObject({ code: status.CANCELLED });
    await expect.poll(() => server.asked.length).toBe(2);
    controller.abort();
    await ended;
    await expect.poll(() => server.left).toBe(2);
    expect((await replica.client.getLoad({})).load!.running).toBe(0);
  });

  test('an answer that is withheld is told of', async () => {
    server.answers = [says(['x'], 'content_filter')];
    expect(await failure()).toMatchObject({ code: status.FAILED_PRECONDITION, reason: 'CONTENT_FILTERED' });
  });
});

describe('personal data', () => {
  test('stays in the house', async () => {
    await using remote = await start({ remote: true });
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
    expect(server.asked).toHaveLength(0);
    expect(textOf(await asked({ prompt: '高血压患者日常饮食需要注意什么?' }))).toBe('你好');
    // A private server may see it.
    expect(textOf(await ask({ prompt: `身份证${id}`, messages: [] }))).toBe('你好');
    expect(mayLeave('张三,电话 138 1234 5678')).toBe(false);
    expect(mayLeave('血压 150/95,每日 6 克盐')).toBe(true);
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
