/** What the OpenAI-compatible API hands to a replica, and what it refuses before that. */

import { once } from 'node:events';
import { Agent, request as httpRequest } from 'node:http';
import { connect } from 'node:http2';
import { gzipSync } from 'node:zlib';
import { toJson } from '@bufbuild/protobuf';
import { invalidArgument, unavailable } from '@landfall/common/errors/errors.ts';
import { FinishReason } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import {
  type GenerateRequest,
  GenerateRequestSchema,
} from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { GatewayMesh } from './harness.ts';

const MAX_BYTES = 1024 * 1024;

let mesh: GatewayMesh | undefined;
let url: string;
let apiKey: string;
let asked: GenerateRequest | undefined;

/** Answers n times, interleaved, as a replica does. */
async function* generate(request: GenerateRequest) {
  asked = request;
  const text = request.messages.at(-1)?.content;
  if (text === 'refused') throw invalidArgument('constraint.json_schema', 'is recursive');
  if (text === 'lost') {
    yield { delta: 'a' };
    throw unavailable('the replica is draining', { retryAfterMs: 2500 });
  }
  const n = request.sampling?.n ?? 1;
  for (const letter of 'ab') {
    for (let index = 0; index < n; index++) yield { index, delta: `${letter}${index}` };
  }
  for (let index = n - 1; index > 0; index--) yield { index, finishReason: FinishReason.LENGTH };
  yield {
    finishReason: FinishReason.STOP,
    usage: { inputTokens: 9, outputTokens: 2 * n, cachedTokens: 4 },
  };
}

beforeAll(async () => {
  mesh = await GatewayMesh.start({ generate, env: { LANDFALL_MAX_MESSAGE_BYTES: String(MAX_BYTES) } });
  if (mesh) ({ url, apiKey } = mesh);
});
afterAll(() => mesh?.[Symbol.asyncDispose]());

const headers = (more = {}) => ({
  authorization: `Bearer ${apiKey}`,
  'content-type': 'application/json',
  ...more,
});
const send = (path: string, body: string | Uint8Array<ArrayBuffer>, more = {}) =>
  fetch(`${url}/v1/${path}`, { method: 'POST', headers: headers(more), body });
const chatBody = (body: object) => ({ model: 'qa', messages: [{ role: 'user', content: '问' }], ...body });
const chat = (body: object) => send('chat/completions', JSON.stringify(chatBody(body)));
const complete = (body: object) =>
  send('completions', JSON.stringify({ model: 'qa', prompt: '从前', ...body }));

/** What the replica was asked for, in the names of its contract. */
async function handedOn(answer: Promise<Response>) {
  asked = undefined;
  const response = await answer;
  expect([response.status, await response.text()]).toMatchObject([200, expect.any(String)]);
  return toJson(GenerateRequestSchema, asked!, { useProtoFieldName: true }) as Record<string, object>;
}

describe('parameters in the contract’s terms', () => {
  test.each([
    [{}, { temperature: 1 }],
    [
      { temperature: 0, top_p: 0.5, top_k: 40, min_p: 0.1 },
      { top_p: 0.5, top_k: 40, min_p: 0.1 },
    ],
    [{ top_k: -1 }, { top_k: 0 }],
    [{ seed: -1 }, { seed: '18446744073709551615' }],
    [{ max_tokens: 5, max_completion_tokens: 7 }, { max_tokens: 7 }],
    [{ max_tokens: 5, max_completion_tokens: null }, { max_tokens: 5 }],
    [{ stop: '。' }, { stop: ['。'] }],
    [{ stop: ['a', '\n\n'] }, { stop: ['a', '\n\n'] }],
    [
      { frequency_penalty: -2, presence_penalty: 1.5 },
      { frequency_penalty: -2, presence_penalty: 1.5 },
    ],
    [
      { repetition_penalty: 1.1, ignore_eos: true },
      { repetition_penalty: 1.1, ignore_eos: true },
    ],
    [{ logit_bias: { 50256: -100, 7: 1.5 } }, { logit_bias: { 50256: -100, 7: 1.5 } }],
    [{ logprobs: true }, { top_logprobs: 0 }],
    [{ logprobs: true, top_logprobs: 20 }, { top_logprobs: 20 }],
    [{ n: 3 }, { n: 3 }],
    [{ prompt_lookup: 8 }, { prompt_lookup: 8 }],
    [{ user: 'u-1', metadata: { a: 'b' }, store: false, tools: [], stop: null, n: null }, { temperature: 1 }],
  ])('%j', async (body, sampling) => {
    if (!mesh) return;
    expect((await handedOn(chat(body))).sampling).toMatchObject(sampling);
  });

  const schema = { type: 'object', properties: { __proto__x: { type: 'string' } } };
  const format = (more: object) => ({ response_format: { type: 'json_schema', json_schema: more } });
  test.each([
    [{ response_format: { type: 'text' } }, undefined],
    [{ response_format: { type: 'json_object' } }, { json_object: true }],
    [format({ name: 'a', schema, strict: true }), { json_schema: JSON.stringify(schema) }],
    [format({ name: 'a', schema }), { json_schema: JSON.stringify(schema) }],
    [{ guided_json: JSON.stringify(schema) }, { json_schema: JSON.stringify(schema) }],
    [{ guided_regex: '[0-9]+' }, { regex: '[0-9]+' }],
    [{ guided_choice: ['是', '否'] }, { choice: { options: ['是', '否'] } }],
  ])('%j', async (body, constraint) => {
    if (!mesh) return;
    expect((await handedOn(chat(body))).constraint).toEqual(constraint);
    expect((await handedOn(complete(body))).constraint).toEqual(constraint);
  });

  test('turns, parts, the developer’s role, priority, and a text to go on from', async (t) => {
    if (!mesh) return t.skip();
    const messages = [
      { role: 'developer', content: '简短' },
      {
        role: 'user',
        content: [
          { type: 'text', text: '高血压' },
          { type: 'text', text: '怎么办?' },
        ],
      },
      { role: 'assistant', content: '少盐。' },
      { role: 'user', content: '还有?' },
    ];
    expect(await handedOn(chat({ messages, priority: 3 }))).toMatchObject({
      model: 'models:/qa/1.0.0',
      priority: -3,
      messages: [
        { role: 'system', content: '简短' },
        { role: 'user', content: '高血压怎么办?' },
        { role: 'assistant', content: '少盐。' },
        { role: 'user', content: '还有?' },
      ],
    });
    expect(await handedOn(complete({ logprobs: 3 }))).toMatchObject({
      prompt: '从前',
      sampling: { max_tokens: 16, top_logprobs: 3 },
    });
  });
});

describe('answers', () => {
  test('several choices, by index, with cached tokens', async (t) => {
    if (!mesh) return t.skip();
    expect(await (await chat({ n: 2 })).json()).toMatchObject({
      choices: [
        { index: 0, message: { content: 'a0b0' }, finish_reason: 'stop' },
        { index: 1, message: { content: 'a1b1' }, finish_reason: 'length' },
      ],
      usage: { prompt_tokens: 9, completion_tokens: 4, prompt_tokens_details: { cached_tokens: 4 } },
    });
    expect(await (await complete({ n: 2 })).json()).toMatchObject({
      object: 'text_completion',
      choices: [{ text: 'a0b0' }, { text: 'a1b1' }],
    });
  });

  test('a stream opens each choice, ends each, and then counts', async (t) => {
    if (!mesh) return t.skip();
    const response = await chat({ n: 2, stream: true, stream_options: { include_usage: true } });
    const events = (await response.text()).split('\n\n').filter(Boolean);
    expect(events.pop()).toBe('data: [DONE]');
    const chunks = events.map((event) => JSON.parse(event.slice('data: '.length)));
    const seen = chunks.map(({ choices: [choice] }) =>
      choice ? [choice.index, choice.delta.role ?? choice.delta.content ?? choice.finish_reason] : 'usage',
    );
    expect(seen).toEqual([
      [0, 'assistant'],
      [0, 'a0'],
      [1, 'assistant'],
      [1, 'a1'],
      [0, 'b0'],
      [1, 'b1'],
      [1, 'length'],
      [0, 'stop'],
      'usage',
    ]);
    expect(chunks.map((chunk) => chunk.usage?.total_tokens)).toEqual([...Array(8), 13]);
  });

  test('a replica lost in the middle is told of in the stream', async (t) => {
    if (!mesh) return t.skip();
    const body = { stream: true, messages: [{ role: 'user', content: 'lost' }] };
    const events = (await (await chat(body)).text()).split('\n\n').filter(Boolean);
    expect(JSON.parse(events.at(-1)!.slice('data: '.length))).toMatchObject({
      error: { type: 'overloaded_error' },
    });
  });

  test('models by id, deployments and refs', async (t) => {
    if (!mesh) return t.skip();
    const get = (id: string) => fetch(`${url}/v1/models/${id}`, { headers: headers() });
    expect(await (await get('qa')).json()).toMatchObject({ id: 'qa', object: 'model' });
    for (const id of [
      'other',
      'models%3A%2Fqa%2F9.9.9',
      '..%2f..%2fetc',
      '%ff',
      '__proto__',
      'constructor',
    ]) {
      const response = await get(id);
      expect([id, response.status]).toEqual([id, 404]);
      expect(await response.json()).toMatchObject({ error: { code: 'model_not_found' } });
    }
  });
});

describe('bad input is refused by its parameter', () => {
  const format = (more: unknown) => ({ response_format: { type: 'json_schema', json_schema: more } });
  const chats: [object, string][] = [
    // Numbers without bound (CVE-2026-34756).
    [{ n: 1e9 }, 'n'],
    [{ n: 17 }, 'n'],
    [{ n: 0 }, 'n'],
    [{ n: 1.5 }, 'n'],
    [{ n: '2' }, 'n'],
    [{ max_tokens: -1 }, 'max_tokens'],
    [{ max_tokens: 2 ** 31 - 1 }, 'max_tokens'],
    [{ max_completion_tokens: 1e308 }, 'max_completion_tokens'],
    [{ temperature: 'NaN' }, 'temperature'],
    [{ temperature: -0.1 }, 'temperature'],
    [{ top_p: 0 }, 'top_p'],
    [{ top_p: 1.1 }, 'top_p'],
    [{ top_k: -2 }, 'top_k'],
    [{ top_k: 1e9 }, 'top_k'],
    [{ min_p: 2 }, 'min_p'],
    [{ repetition_penalty: 0 }, 'repetition_penalty'],
    [{ frequency_penalty: 2.1 }, 'frequency_penalty'],
    [{ presence_penalty: -3 }, 'presence_penalty'],
    [{ seed: 1e300 }, 'seed'],
    [{ seed: 0.5 }, 'seed'],
    [{ priority: 11 }, 'priority'],
    [{ prompt_lookup: 1e6 }, 'prompt_lookup'],
    [{ top_logprobs: 3 }, 'top_logprobs'],
    [{ logprobs: true, top_logprobs: 21 }, 'top_logprobs'],
    [{ logprobs: 3 }, 'logprobs'],
    [{ stop: Array(17).fill('x') }, 'stop'],
    [{ stop: [''] }, 'stop'],
    [{ stop: 'x'.repeat(257) }, 'stop'],
    [{ stop: { 0: 'x' } }, 'stop'],
    [{ logit_bias: { '-1': 1 } }, 'logit_bias'],
    [{ logit_bias: { 1e9: 1 } }, 'logit_bias'],
    [{ logit_bias: { '007': 1 } }, 'logit_bias'],
    [{ logit_bias: { 5: 101 } }, 'logit_bias'],
    [{ logit_bias: { 5: '1' } }, 'logit_bias'],
    [{ logit_bias: [1] }, 'logit_bias'],
    [{ logit_bias: Object.fromEntries(Array.from({ length: 1025 }, (_, i) => [i, 1])) }, 'logit_bias'],
    // Constraints.
    [{ response_format: 'json' }, 'response_format'],
    [{ response_format: { type: 'xml' } }, 'response_format.type'],
    [format(undefined), 'response_format.json_schema'],
    [format({ name: 'a' }), 'response_format.json_schema.schema'],
    [format({ name: 'a', schema: { a: 'x'.repeat(70_000) } }), 'response_format'],
    [{ guided_regex: 'x'.repeat(9000) }, 'guided_regex'],
    [{ guided_regex: '' }, 'guided_regex'],
    [{ guided_choice: [] }, 'guided_choice'],
    [{ guided_choice: ['a', 1] }, 'guided_choice'],
    [{ guided_choice: ['a', 'a'] }, 'guided_choice'],
    [{ guided_grammar: 'root ::= "a"' }, 'guided_grammar'],
    [{ guided_regex: 'a', guided_choice: ['a'] }, 'guided_choice'],
    [
      { ...format({ name: 'a', schema: {} }), messages: [{ role: 'user', content: 'refused' }] },
      'response_format',
    ],
    // What is known and not served is never ignored.
    [{ tools: [{ type: 'function', function: { name: 'f' } }] }, 'tools'],
    [{ tool_choice: 'required' }, 'tool_choice'],
    [{ functions: [{ name: 'f' }] }, 'functions'],
    [{ modalities: ['text', 'audio'] }, 'modalities'],
    [{ messages: [{ role: 'tool', content: 'x', tool_call_id: '1' }] }, 'messages[0].role'],
    [{ messages: [{ role: 'assistant', content: '', tool_calls: [{}] }] }, 'tool_calls'],
    [
      {
        messages: [
          { role: 'user', content: [{ type: 'image_url', image_url: { url: 'file:///etc/passwd' } }] },
        ],
      },
      'messages[0].content[0].image_url.url',
    ],
    // Shapes and names.
    [{ messages: {} }, 'messages'],
    [{ messages: [null] }, 'messages[0]'],
    [{ messages: [{ role: 'user' }] }, 'messages[0].content'],
    [{ messages: Array(1025).fill({ role: 'user', content: 'x' }) }, 'messages'],
    [{ stream: 'yes' }, 'stream'],
    [{ stream: true, stream_options: [] }, 'stream_options'],
    [{ model: '../x' }, 'model'],
    [{ model: "qa' OR 1=1 --" }, 'model'],
    [{ model: 'models:/../../etc@x' }, 'model'],
    [{ model: 'x'.repeat(1e5) }, 'model'],
    [{ model: ['qa'] }, 'model'],
  ];
  for (const [body, param] of chats)
    test(`${param}: ${JSON.stringify(body).slice(0, 80)}`, () => refused(body, param));
  async function refused(body: object, param: string) {
    if (!mesh) return;
    asked = undefined;
    const response = await chat(body);
    expect(response.status).toBe(400);
    const { error } = (await response.json()) as { error: { message: string; param: string; type: string } };
    expect(error).toMatchObject({ param, type: 'invalid_request_error', code: expect.any(String) });
    expect(error.message).not.toMatch(/127\.0\.0\.1|node_modules|\n\s+at /);
    // Only the replica itself can tell a recursive schema.
    if (!JSON.stringify(body).includes('refused')) expect(asked).toBeUndefined();
  }

  test.each<[object, string]>([
    [{ prompt: '' }, 'prompt'],
    [{ prompt: ['a', 'b'] }, 'prompt'],
    [{ prompt: [1, 2, 3] }, 'prompt'],
    [{ prompt: undefined }, 'prompt'],
    [{ logprobs: 21 }, 'logprobs'],
    [{ echo: true }, 'echo'],
    [{ suffix: 'x' }, 'suffix'],
    [{ best_of: 4 }, 'best_of'],
    [{ max_tokens: 0 }, 'max_tokens'],
  ])('a text completion with %j', async (body, param) => {
    if (!mesh) return;
    const response = await complete(body);
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ error: { param } });
  });

  test.each([
    ['no JSON', '{'],
    ['a list', '[]'],
    ['null', 'null'],
    ['another encoding', Uint8Array.from([0x7b, 0xff, 0xfe])],
    ['NaN', '{"model":"qa","temperature":NaN}'],
    ['nothing', ''],
    ['a prototype', '{"__proto__":{"model":"qa"},"model":"qa","messages":[{"role":"user","content":"x"}]}'],
    ['brackets without end', '['.repeat(500_000)],
  ])('a body that is $0', async (_what, body) => {
    if (!mesh) return;
    const response = await send('chat/completions', body);
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ error: { param: 'body' } });
  });

  test('a schema deeper than any stack, and a prototype among the biases', async (t) => {
    if (!mesh) return t.skip();
    const deep = `{"type":"json_schema","json_schema":{"schema":${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}}}`;
    const messages = '[{"role":"user","content":"x"}]';
    for (const [body, param] of [
      [
        `{"model":"qa","messages":${messages},"response_format":${deep}}`,
        'response_format.json_schema.schema',
      ],
      [`{"model":"qa","messages":${messages},"logit_bias":{"__proto__":{"5":1}}}`, 'logit_bias'],
    ] as const) {
      const response = await send('chat/completions', body);
      expect(response.status).toBe(400);
      expect(await response.json()).toMatchObject({ error: { param } });
    }
  });
});

describe('transport', () => {
  test('bodies over the limit end early: told of, sent in pieces, or packed', async (t) => {
    if (!mesh) return t.skip();
    const large = JSON.stringify(chatBody({ user: 'x'.repeat(2 * MAX_BYTES) }));
    expect((await send('chat/completions', large)).status).toBe(413);
    expect(await inPieces(large)).toBe(413);
    expect(await overHttp2(large)).toEqual([413, 200]);
    // A small packed body that becomes a large one is given up at the limit.
    const packed = new Uint8Array(gzipSync(Buffer.alloc(64 * MAX_BYTES, 0x20)));
    const response = await send('chat/completions', packed, { 'content-encoding': 'gzip' });
    expect(response.status).toBe(413);
    expect((await chat({})).status).toBe(200);
  });

  test('paths and verbs that are not served are told apart, to those who have a key', async (t) => {
    if (!mesh) return t.skip();
    const ask = async (method: string, path: string, more = headers()) =>
      (await fetch(`${url}${path}`, { method, headers: more })).status;
    expect(await ask('GET', '/v1/chat/completions')).toBe(405);
    expect(await ask('POST', '/v1/models')).toBe(405);
    for (const path of ['/v1/', '/v1/models/', '/v1/audio/speech', '/v1//models', '/v1/chat/completions/'])
      expect([path, await ask('GET', path)]).toEqual([path, 404]);
    for (const path of ['/v1/models', '/v1/models/qa', '/v1/embeddings'])
      expect(await ask('GET', path, headers({ authorization: 'Bearer lf_wrong' }))).toBe(401);
  });
});

/** Status of a chunked upload without a length. */
function inPieces(body: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const agent = new Agent({ keepAlive: true });
    const request = httpRequest(`${url}/v1/chat/completions`, { method: 'POST', headers: headers(), agent });
    request.once('response', (response) => {
      response.resume();
      response.once('end', () => {
        request.destroy();
        agent.destroy();
        resolve(response.statusCode!);
      });
    });
    request.once('error', reject);
    for (let i = 0; i < body.length; i += 65_536) request.write(body.slice(i, i + 65_536));
  });
}

/** Statuses of an upload that is too large, and of a request behind it on the same connection. */
async function overHttp2(body: string): Promise<number[]> {
  const session = connect(url);
  const statusOf = async (method: string, path: string, text = '') => {
    const stream = session.request({ ':method': method, ':path': path, ...headers() });
    // The rest of the upload is cut off behind the answer.
    stream.on('error', () => {});
    const response = once(stream, 'response');
    if (text) stream.write(text);
    const [{ ':status': statusCode }] = await response;
    stream.resume();
    await once(stream, 'end');
    return Number(statusCode);
  };
  try {
    return [await statusOf('POST', '/v1/chat/completions', body), await statusOf('GET', '/v1/models')];
  } finally {
    session.destroy();
  }
}
