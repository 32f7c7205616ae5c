/** The official client of OpenAI against the gateway and replicas of tiny models. */

import { createClient } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { AdminService } from '@landfall/proto/landfall/gateway/v1/admin_service_pb.js';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { randomImage } from '../../services/text-inference/test/tiny-llava.ts';
import { random, SPECIAL } from '../../services/text-inference/test/tiny-model.ts';
import { ADAPTER, BASE, OpenAiMesh } from './openai-mesh.ts';

const seed = Number(process.env.LANDFALL_TEST_SEED) || Math.floor(Math.random() * 2 ** 31);
console.log(`LANDFALL_TEST_SEED=${seed}`);
const next = random(seed);

let mesh: OpenAiMesh | undefined;
let client: OpenAI;
beforeAll(async () => {
  mesh = await OpenAiMesh.start();
  if (mesh) client = clientOf(mesh.apiKey);
});
afterAll(() => mesh?.[Symbol.asyncDispose]());

const clientOf = (apiKey: string, maxRetries = 0) =>
  new OpenAI({ baseURL: `${mesh!.url}/v1`, apiKey, maxRetries });

type Chat = OpenAI.ChatCompletionCreateParamsNonStreaming;
/** A greedy answer of some length; a random model says random things, which are the same each time. */
const ask = (more: Partial<Chat> & Record<string, unknown> = {}): Chat => ({
  model: 'tiny',
  messages: [{ role: 'user', content: '高血压患者日常饮食需要注意什么?' }],
  temperature: 0,
  max_tokens: 24,
  ...more,
});
const sampled = (more: Partial<Chat> & Record<string, unknown> = {}) =>
  ask({ temperature: 1, seed: Math.floor(next() * 2 ** 31), ignore_eos: true, ...more });
const textOf = (completion: OpenAI.ChatCompletion, index = 0) => completion.choices[index]!.message.content!;

/** The same test, left out where the mesh can't be had. */
const check = (name: string, run: () => Promise<void>) => test(name, async (t) => (mesh ? run() : t.skip()));

describe('chat', () => {
  check('answers as the replica does, with its counts', async () => {
    const whole = await client.chat.completions.create(ask({ ignore_eos: true }));
    expect(whole).toMatchObject({
      id: expect.stringMatching(/^chatcmpl-/),
      object: 'chat.completion',
      model: 'tiny',
      choices: [{ index: 0, message: { role: 'assistant', refusal: null }, finish_reason: 'length' }],
      usage: { completion_tokens: 24, prompt_tokens_details: { cached_tokens: expect.any(Number) } },
    });
    expect(whole.usage!.total_tokens).toBe(whole.usage!.prompt_tokens + 24);
    expect(whole._request_id).toMatch(/^[0-9a-f]{32}$/);
    const parts = await Array.fromAsync(
      mesh!.replica.client.generate({
        messages: [{ role: 'user', content: ask().messages[0]!.content as string }],
        sampling: { maxTokens: 24, ignoreEos: true },
      }),
    );
    expect(textOf(whole)).toBe(parts.map((part) => part.delta).join(''));
  });

  check('streams the same text, and counts at the end where they are asked for', async () => {
    const whole = await client.chat.completions.create(ask());
    const stream = client.chat.completions.stream({
      ...ask(),
      stream: true,
      stream_options: { include_usage: true },
    });
    const streamed = await stream.finalChatCompletion();
    expect(textOf(streamed)).toBe(textOf(whole));
    expect(streamed.choices[0]!.finish_reason).toBe(whole.choices[0]!.finish_reason);
    expect(streamed.usage).toMatchObject({ total_tokens: whole.usage!.total_tokens });
    let parts = 0;
    for await (const chunk of await client.chat.completions.create({ ...ask(), stream: true })) {
      expect(chunk).toMatchObject({ object: 'chat.completion.chunk', choices: [{ index: 0 }] });
      expect(chunk.usage).toBeUndefined();
      parts += 1;
    }
    expect(parts).toBeGreaterThan(3);
  });

  check('images in several turns: the answer that the replica gives, whole and streamed', async () => {
    const images = [await randomImage(next, 'png'), await randomImage(next, 'jpeg')];
    const shown = (bytes: Uint8Array, type: string) => ({
      type: 'image_url' as const,
      image_url: { url: `data:image/${type};base64,${Buffer.from(bytes).toString('base64')}` },
    });
    const request = sampled({
      model: 'seeing',
      messages: [
        { role: 'user', content: [shown(images[0]!, 'png'), { type: 'text', text: '这是什么?' }] },
        { role: 'assistant', content: '钢板' },
        { role: 'user', content: [{ type: 'text', text: '与此相比?' }, shown(images[1]!, 'jpeg')] },
      ],
    });
    const whole = await client.chat.completions.create(request);
    const parts = await Array.fromAsync(
      mesh!.seeing.client.generate({
        messages: [
          { role: 'user', content: '这是什么?', images: [images[0]!] },
          { role: 'assistant', content: '钢板' },
          { role: 'user', content: '与此相比?', images: [images[1]!] },
        ],
        sampling: { temperature: 1, seed: BigInt(request.seed!), maxTokens: 24, ignoreEos: true },
      }),
    );
    expect(textOf(whole)).toBe(parts.map(({ delta }) => delta).join(''));
    expect(whole.usage!.prompt_tokens).toBe(parts.at(-1)!.usage!.inputTokens);
    const stream = client.chat.completions.stream({ ...request, stream: true });
    expect(textOf(await stream.finalChatCompletion())).toBe(textOf(whole));
    const other = {
      ...request.messages[0]!,
      content: [shown(images[1]!, 'jpeg')],
    } as Chat['messages'][number];
    const blind = client.chat.completions.create(ask({ model: 'tiny', messages: [other] }));
    await expect(blind).rejects.toMatchObject({ status: 400, param: 'messages[0].images' });
  });

  check('an adapter answers under its deployment’s name and under its own', async () => {
    const base = textOf(await client.chat.completions.create(ask()));
    const byName = textOf(await client.chat.completions.create(ask({ model: 'medical-qa' })));
    expect(byName).not.toBe(base);
    expect(textOf(await client.chat.completions.create(ask({ model: ADAPTER })))).toBe(byName);
  });

  check('stops before a stop string, streamed too', async () => {
    const whole = [...textOf(await client.chat.completions.create(ask({ ignore_eos: true })))];
    const at = 2 + Math.floor(next() * 8);
    const stop = whole.slice(at, at + 2).join('');
    const expected = whole.join('').slice(0, whole.join('').indexOf(stop));
    const stopped = await client.chat.completions.create(ask({ stop, ignore_eos: true }));
    expect(textOf(stopped)).toBe(expected);
    expect(stopped.choices[0]!.finish_reason).toBe('stop');
    const stream = client.chat.completions.stream({
      ...ask({ ignore_eos: true }),
      stream: true,
      stop: [stop, '绝不出现'],
    });
    // The client makes null of an empty text that it has put together itself.
    expect(textOf(await stream.finalChatCompletion()) ?? '').toBe(expected);
  });

  check('the same seed gives the same text, another one another', async () => {
    const request = sampled();
    const [first, again, other] = await Promise.all([
      client.chat.completions.create(request),
      client.chat.completions.create(request),
      client.chat.completions.create({ ...request, seed: request.seed! + 1 }),
    ]);
    expect(textOf(again)).toBe(textOf(first));
    expect(textOf(other)).not.toBe(textOf(first));
  });

  check('log-probabilities: one entry a token, likeliest first', async () => {
    const whole = await client.chat.completions.create(sampled({ logprobs: true, top_logprobs: 3 }));
    const entries = whole.choices[0]!.logprobs!.content!;
    expect(entries).toHaveLength(whole.usage!.completion_tokens);
    for (const { token, bytes, logprob, top_logprobs } of entries) {
      // The tiny model has a few rows more than its tokenizer has tokens.
      if (token) expect(bytes!.length).toBeGreaterThan(0);
      expect(logprob).toBeLessThanOrEqual(0);
      expect(top_logprobs).toHaveLength(3);
      const tops = top_logprobs.map((top) => top.logprob);
      expect(tops).toEqual([...tops].sort((a, b) => b - a));
      expect(tops.reduce((sum, value) => sum + Math.exp(value), 0)).toBeLessThanOrEqual(1 + 1e-9);
      expect(logprob).toBeLessThanOrEqual(tops[0]!);
    }
    // Special tokens are tokens, but no text.
    const bytes = entries.filter(({ token }) => !SPECIAL.includes(token)).flatMap((entry) => entry.bytes!);
    expect(new TextDecoder().decode(Uint8Array.from(bytes))).toBe(textOf(whole));
  });

  check('several answers to one question, the same whole and streamed', async () => {
    const request = sampled({ n: 3 });
    const whole = await client.chat.completions.create(request);
    expect(whole.choices.map((choice) => choice.index)).toEqual([0, 1, 2]);
    expect(new Set(whole.choices.map((_, i) => textOf(whole, i))).size).toBe(3);
    expect(whole.usage!.completion_tokens).toBe(3 * 24);
    const streamed = await client.chat.completions.stream({ ...request, stream: true }).finalChatCompletion();
    for (const { index, message, finish_reason } of streamed.choices) {
      expect(message.content).toBe(textOf(whole, index));
      expect(finish_reason).toBe('length');
    }
    expect(streamed.choices).toHaveLength(3);
  });

  check('biases and penalties reach the tokens', async () => {
    // Byte-level tokens of the tiny model: 7 special ones, then the bytes.
    const id = (letter: string) => String(7 + letter.charCodeAt(0));
    const forced = { logit_bias: { [id('A')]: 100 }, max_tokens: 6 };
    expect(textOf(await client.chat.completions.create(ask(forced)))).toBe('AAAAAA');
    const taken = ask({ ...forced, logit_bias: { [id('A')]: 99, [id('B')]: 98 }, frequency_penalty: 2 });
    expect(textOf(await client.chat.completions.create(taken))).toContain('B');
  });
});

describe('structured output', () => {
  const schema = {
    type: 'object',
    properties: { 严重程度: { enum: ['轻', '中', '重'] }, urgent: { type: 'boolean' } },
    required: ['严重程度', 'urgent'],
    additionalProperties: false,
  };
  test.each([true, false])('a JSON schema holds, strict: %s', async (strict) => {
    if (!mesh) return;
    const format = { type: 'json_schema' as const, json_schema: { name: 'triage', strict, schema } };
    const whole = await client.chat.completions.create(
      ask({ temperature: 1, max_tokens: 64, response_format: format }),
    );
    expect(whole.choices[0]!.finish_reason).toBe('stop');
    const value = JSON.parse(textOf(whole));
    expect(Object.keys(value).sort()).toEqual(['urgent', '严重程度']);
    expect(['轻', '中', '重']).toContain(value.严重程度);
    expect(value.urgent).toBeTypeOf('boolean');
  });

  check('a regular expression and a choice hold', async () => {
    const regex = await client.chat.completions.create(
      ask({ temperature: 1, guided_regex: '(是|否),[0-9]{2}%' }),
    );
    expect(textOf(regex)).toMatch(/^(是|否),[0-9]{2}%$/);
    const options = ['内科', '外科', '急诊'];
    const choice = await client.chat.completions.create(ask({ temperature: 1, guided_choice: options }));
    expect(options).toContain(textOf(choice));
  });

  check('a schema that can not be held is refused by its parameter', async () => {
    const recursive = { $ref: '#/$defs/a', $defs: { a: { type: 'array', items: { $ref: '#/$defs/a' } } } };
    const format = { type: 'json_schema' as const, json_schema: { name: 'a', schema: recursive } };
    const error = await client.chat.completions.create(ask({ response_format: format })).catch((e) => e);
    expect(error).toBeInstanceOf(OpenAI.BadRequestError);
    expect(error.param).toBe('response_format');
  });
});

check('text completions, whole and streamed, with the older form of log-probabilities', async () => {
  const request = { model: 'tiny', prompt: '高血压患者', temperature: 0, max_tokens: 12, logprobs: 2 };
  const whole = await client.completions.create({ ...request, ...{ ignore_eos: true } });
  expect(whole).toMatchObject({
    object: 'text_completion',
    choices: [{ index: 0, finish_reason: 'length' }],
  });
  const { text, logprobs } = whole.choices[0]!;
  expect(logprobs!.token_logprobs).toHaveLength(12);
  expect(logprobs!.text_offset![0]).toBe(0);
  let streamed = '';
  const stream = await client.completions.create({ ...request, ...{ ignore_eos: true }, stream: true });
  for await (const chunk of stream) streamed += chunk.choices[0]?.text ?? '';
  expect(streamed).toBe(text);
});

check('models: deployments and adapters, with parent and root', async () => {
  const models = await Array.fromAsync(client.models.list());
  expect(models).toContainEqual(expect.objectContaining({ id: 'tiny', root: BASE, parent: null }));
  expect(models).toContainEqual(expect.objectContaining({ id: 'medical-qa', root: ADAPTER, parent: BASE }));
  expect(models.filter(({ id }) => id === ADAPTER)).toHaveLength(1);
  for (const { id } of models)
    expect(await client.models.retrieve(id)).toMatchObject({ id, object: 'model' });
});

describe('errors', () => {
  const failure = (request: Chat, by = client) => by.chat.completions.create(request).catch((e) => e);

  check('400 names the parameter', async () => {
    const error = await failure(ask({ temperature: 3 }));
    expect(error).toBeInstanceOf(OpenAI.BadRequestError);
    expect(error).toMatchObject({ status: 400, param: 'temperature', type: 'invalid_request_error' });
    const long = await failure(ask({ messages: [{ role: 'user', content: '长'.repeat(1000) }] }));
    expect(long).toMatchObject({ status: 400, param: 'messages' });
  });

  check('401 without a key that is known, 403 below the role, 404 for what is not there', async () => {
    expect(await failure(ask(), clientOf('lf_wrong'))).toBeInstanceOf(OpenAI.AuthenticationError);
    const transport = createConnectTransport({
      baseUrl: mesh!.url,
      httpVersion: '2',
      interceptors: [
        (call) => (request) => {
          request.header.set('authorization', `Bearer ${mesh!.apiKey}`);
          return call(request);
        },
      ],
    });
    const { secret } = await createClient(AdminService, transport).createKey({
      name: 'viewer',
      role: Role.VIEWER,
    });
    expect(await failure(ask(), clientOf(secret))).toBeInstanceOf(OpenAI.PermissionDeniedError);
    const unknown = await failure(ask({ model: 'nobody' }));
    expect(unknown).toBeInstanceOf(OpenAI.NotFoundError);
    expect(unknown).toMatchObject({ code: 'model_not_found', param: 'model' });
    await expect(client.models.retrieve('nobody')).rejects.toBeInstanceOf(OpenAI.NotFoundError);
  });

  check('429 says when to come again, and the client’s own retry gets through', async () => {
    const stream = await client.chat.completions.create({
      ...ask({ model: 'slow', max_tokens: 100, ignore_eos: true }),
      stream: true,
    });
    const running = stream[Symbol.asyncIterator]();
    await running.next();
    const error = await failure(ask({ model: 'slow' }));
    expect(error).toBeInstanceOf(OpenAI.RateLimitError);
    expect(Number(error.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
    expect(error.code).toBe('rate_limit_exceeded');
    const patient = clientOf(mesh!.apiKey, 5).chat.completions.create(ask({ model: 'slow', max_tokens: 2 }));
    while (!(await running.next()).done);
    expect((await patient).usage!.completion_tokens).toBeLessThanOrEqual(2);
  });

  check('503 where no replica answers', async () => {
    const error = await failure(ask({ model: 'empty' }));
    expect(error).toBeInstanceOf(OpenAI.InternalServerError);
    expect(error.status).toBe(503);
  });
});

check('a client that leaves stops the replica’s work, streamed or not', async () => {
  const running = async () => (await mesh!.slow.client.getLoad({})).load!.running;
  const long = ask({ model: 'slow', max_tokens: 110, ignore_eos: true });
  const stream = await client.chat.completions.create({ ...long, stream: true });
  for await (const _ of stream) break;
  await expect.poll(running).toBe(0);
  const controller = new AbortController();
  const whole = client.chat.completions.create(long, { signal: controller.signal });
  await expect.poll(running).toBe(1);
  controller.abort();
  await expect(whole).rejects.toBeInstanceOf(OpenAI.APIUserAbortError);
  await expect.poll(running).toBe(0);
  expect(Number((await mesh!.slow.client.getLoad({})).load!.queued)).toBe(0);
});
