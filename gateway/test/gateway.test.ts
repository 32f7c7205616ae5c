import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Code, createClient, type Transport } from '@connectrpc/connect';
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from '@connectrpc/connect-node';
import { notFound, resourceExhausted, unavailable } from '@landfall/common/errors/errors.ts';
import type { Identity } from '@landfall/common/identity/identity.ts';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import { BadRequestSchema, RetryInfoSchema } from '@landfall/proto/google/rpc/error_details_pb.js';
import { AdminService } from '@landfall/proto/landfall/gateway/v1/admin_service_pb.js';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { PromptService } from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import { Kind } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import { RegistryService } from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';
import { FinishReason } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import {
  type GenerateRequest,
  TextInferenceService,
} from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { FIRST_KEY, GatewayMesh } from './harness.ts';

let mesh: GatewayMesh | undefined;
let url: string;
let apiKey: string;
let caller: Identity | undefined;
let cancelled = 0;
let promptsAreAway = false;

async function* generate({ messages, sampling }: GenerateRequest, { signal }: CallContext) {
  const text = messages.at(-1)?.content ?? '';
  if (text === 'full') throw resourceExhausted('the queue is full', { retryAfterMs: 1500 });
  try {
    for (let i = 0; text === 'endless' || i < 3; i++) {
      signal.throwIfAborted();
      const logprobs =
        sampling?.topLogprobs === undefined
          ? []
          : [{ token: `${i}`, bytes: Buffer.from(`${i}`), logprob: -0.5, top: [] }];
      yield { delta: `${text}${i}`, logprobs };
      await delay(5);
    }
  } finally {
    if (signal.aborted) cancelled += 1;
  }
  yield { finishReason: FinishReason.STOP, usage: { inputTokens: 5, outputTokens: 3 } };
}

beforeAll(async () => {
  mesh = await GatewayMesh.start({
    generate,
    prompts: {
      getPrompt: ({ name, version }) => {
        if (promptsAreAway) throw unavailable('the database is away');
        if (name === 'secret') throw notFound('there is no such prompt');
        return { prompt: { name }, version: { version: version === '@live' ? '1.0.0' : version } };
      },
    },
    registry: {
      createModel: async ({ name, kind }, { identity }) => {
        caller = identity;
        return { model: { name, kind } };
      },
      listModels: async () => ({ models: [{ name: 'a' }] }),
      async uploadArtifact(requests) {
        let bytes = 0;
        for await (const { part } of requests) if (part.case === 'chunk') bytes += part.value.length;
        return { file: { path: 'x', sizeBytes: BigInt(bytes) } };
      },
      async *downloadArtifact() {
        for (let i = 0; i < 5; i++) yield { chunk: Buffer.from([i]) };
      },
    },
  });
  if (mesh) ({ url, apiKey } = mesh);
});
afterAll(() => mesh?.[Symbol.asyncDispose]());

type Bearer = () => string;
const transports: Record<string, (bearer: Bearer) => Transport> = {
  'Connect, JSON, HTTP/1.1': (bearer) => createConnectTransport({ ...options(bearer), httpVersion: '1.1' }),
  'Connect, binary, HTTP/2': (bearer) =>
    createConnectTransport({ ...options(bearer), httpVersion: '2', useBinaryFormat: true }),
  gRPC: (bearer) => createGrpcTransport(options(bearer)),
  'gRPC-Web, HTTP/1.1': (bearer) => createGrpcWebTransport({ ...options(bearer), httpVersion: '1.1' }),
};

function options(bearer: Bearer) {
  return {
    baseUrl: url,
    interceptors: [
      (next: (request: never) => Promise<never>) => (request: { header: Headers }) => {
        request.header.set('authorization', `Bearer ${bearer()}`);
        return next(request as never);
      },
    ] as never,
  };
}

describe.each(Object.keys(transports))('%s', (name) => {
  const registry = (bearer: Bearer = () => apiKey) =>
    createClient(RegistryService, transports[name]!(bearer));

  test('a prompt that was read by label stays readable while its service is away', async (t) => {
    if (!mesh) return t.skip();
    const prompts = createClient(
      PromptService,
      transports[name]!(() => apiKey),
    );
    const prompt = `p-${Object.keys(transports).indexOf(name)}`;
    const read = () => prompts.getPrompt({ name: prompt, version: '@live' });
    expect(await read()).toMatchObject({ stale: false, version: { version: '1.0.0' } });
    promptsAreAway = true;
    try {
      expect(await read()).toMatchObject({ stale: true, version: { version: '1.0.0' } });
      const away = { code: Code.Unavailable };
      await expect(prompts.getPrompt({ name: prompt, version: '1.0.0' })).rejects.toMatchObject(away);
      await expect(prompts.getPrompt({ name: 'other', version: '@live' })).rejects.toMatchObject(away);
    } finally {
      promptsAreAway = false;
    }
    // What its service said a moment ago is given out as long as it is left alone.
    await expect.poll(async () => (await read()).stale, { timeout: 10_000 }).toBe(false);
    const secret = prompts.getPrompt({ name: 'secret', version: '@live' });
    await expect(secret).rejects.toMatchObject({ code: Code.NotFound });
  });

  test('carries calls and streams both ways, with the caller’s identity', async (t) => {
    if (!mesh) return t.skip();
    expect((await registry().createModel({ name: 'm', kind: Kind.BASE })).model?.name).toBe('m');
    expect(caller).toMatchObject({ tenant: 'default', role: Role.ADMIN });
    const admin = createClient(
      AdminService,
      transports[name]!(() => apiKey),
    );
    const groups = ['doctors', 'night.shift'];
    const member = await admin.createKey({ name: 'member', role: Role.EDITOR, groups });
    expect(member.key!.groups).toEqual(groups);
    await registry(() => member.secret).createModel({ name: 'm', kind: Kind.BASE });
    expect(caller).toMatchObject({ subject: `key:${member.key!.id}`, groups });
    async function* parts() {
      yield { part: { case: 'header' as const, value: { name: 'm', version: '1.0.0', path: 'x' } } };
      for (let i = 0; i < 20; i++) yield { part: { case: 'chunk' as const, value: new Uint8Array(50_000) } };
    }
    // Fetch-like HTTP/1.1 clients of gRPC-Web cannot stream a request.
    if (!name.startsWith('gRPC-Web')) {
      expect((await registry().uploadArtifact(parts())).file?.sizeBytes).toBe(1_000_000n);
    }
    const chunks: number[] = [];
    for await (const { chunk } of registry().downloadArtifact({ name: 'm', version: '1.0.0', path: 'x' }))
      chunks.push(chunk[0]!);
    expect(chunks).toEqual([0, 1, 2, 3, 4]);
  });

  test('tells errors with their details, and lets nobody in without a key', async (t) => {
    if (!mesh) return t.skip();
    const bad = await registry()
      .createModel({ name: '../x', kind: Kind.BASE })
      .catch((error) => error);
    expect(bad.code).toBe(Code.InvalidArgument);
    expect(bad.findDetails(BadRequestSchema)[0].fieldViolations[0].field).toBe('name');
    const near = () => `${apiKey.slice(0, -1)}${apiKey.endsWith('A') ? 'B' : 'A'}`;
    for (const bearer of [() => '', near]) {
      await expect(registry(bearer).listModels({})).rejects.toMatchObject({ code: Code.Unauthenticated });
    }
    const text = createClient(
      TextInferenceService,
      transports[name]!(() => apiKey),
    );
    const full = async () => {
      for await (const _ of text.generate({ model: 'qa', messages: [{ role: 'user', content: 'full' }] }));
    };
    const failure = await full().catch((error) => error);
    expect(failure.code).toBe(Code.ResourceExhausted);
    expect(failure.findDetails(RetryInfoSchema)[0].retryDelay.seconds).toBe(1n);
  });
});

const admin = (bearer: Bearer = () => apiKey) =>
  createClient(AdminService, transports['Connect, JSON, HTTP/1.1']!(bearer));

test('keys are made, bounded by role and time, listed without secrets, and revoked at once', async (t) => {
  if (!mesh) return t.skip();
  expect(statSync(join(mesh.database.folder, FIRST_KEY)).mode & 0o777).toBe(0o600);
  const requestId = 'make-1';
  const { key: made, secret } = await admin().createKey({ requestId, name: 'ci', role: Role.INVOKER });
  expect(secret).toMatch(/^lf_/);
  const again = await admin().createKey({ requestId, name: 'ci', role: Role.INVOKER });
  expect([again.key!.id, again.secret]).toEqual([made!.id, '']);
  const registry = createClient(
    RegistryService,
    transports.gRPC!(() => secret),
  );
  await registry.listModels({});
  await expect(registry.createModel({ name: 'x', kind: Kind.BASE })).rejects.toMatchObject({
    code: Code.PermissionDenied,
  });
  await expect(admin(() => secret).listKeys({})).rejects.toMatchObject({ code: Code.PermissionDenied });
  const why = await admin(() => secret).whyAllowed({
    method: 'landfall.registry.v1.RegistryService/CreateModel',
  });
  expect(why).toMatchObject({ allowed: false });
  const listed = await admin().listKeys({});
  expect(listed.keys.find((each) => each.id === made!.id)).toMatchObject({
    name: 'ci',
    prefix: secret.slice(0, 9),
  });
  await admin().revokeKey({ id: made!.id });
  await expect(registry.listModels({})).rejects.toMatchObject({ code: Code.Unauthenticated });
  const { entries } = await admin().searchAudit({ resource: `keys/${made!.id}` });
  expect(entries.map((entry) => entry.method.split('/')[1])).toEqual(['RevokeKey', 'CreateKey']);
  if (mesh.database.kind === 'sqlite') {
    const stored = readFileSync(join(mesh.database.folder, 'gateway/gateway.sqlite')).toString('latin1');
    for (const each of [secret, apiKey]) expect(stored).not.toContain(each);
  }
});

test('a tenant’s limit refuses with 429 and says when to come again', async (t) => {
  if (!mesh) return t.skip();
  const { secret } = await admin().createKey({ name: 'limited', role: Role.VIEWER });
  await admin().setPolicy({ policy: { requestsPerMinute: 60 } });
  const list = () =>
    fetch(`${url}/landfall.registry.v1.RegistryService/ListModels`, {
      method: 'POST',
      headers: { authorization: `Bearer ${secret}`, 'content-type': 'application/json' },
      body: '{}',
    });
  const answers = await Promise.all(Array.from({ length: 30 }, list));
  await admin()
    .setPolicy({ policy: {} })
    .catch(() => {});
  const refused = answers.filter((answer) => answer.status === 429);
  expect(refused.length).toBeGreaterThanOrEqual(15);
  expect(Number(refused[0]!.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
});

describe('the OpenAI API', () => {
  const chat = (body: object, init: RequestInit = {}) =>
    fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'qa', messages: [{ role: 'user', content: '问' }], ...body }),
      ...init,
    });

  test('answers whole and as a stream that ends with [DONE]', async (t) => {
    if (!mesh) return t.skip();
    const whole = (await (await chat({ logprobs: true, top_logprobs: 0 })).json()) as never as {
      choices: { message: object; logprobs: { content: object[] } }[];
    };
    expect(whole).toMatchObject({
      object: 'chat.completion',
      model: 'qa',
      choices: [{ message: { role: 'assistant', content: '问0问1问2' }, finish_reason: 'stop' }],
      usage: { prompt_tokens: 5, completion_tokens: 3, total_tokens: 8 },
    });
    expect(whole.choices[0]!.logprobs.content).toHaveLength(3);
    const events = (await (await chat({ stream: true, stream_options: { include_usage: true } })).text())
      .split('\n\n')
      .filter(Boolean)
      .map((line) => line.replace('data: ', ''));
    expect(events.pop()).toBe('[DONE]');
    const chunks = events.map((event) => JSON.parse(event));
    expect(chunks.map((each) => each.choices[0]?.delta.content ?? '').join('')).toBe('问0问1问2');
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { total_tokens: 8 } });
  });

  test('lists deployments with their parents', async (t) => {
    if (!mesh) return t.skip();
    const models = await (
      await fetch(`${url}/v1/models`, { headers: { authorization: `Bearer ${apiKey}` } })
    ).json();
    expect(models).toMatchObject({
      object: 'list',
      data: [{ id: 'qa', root: 'models:/qa/1.0.0', parent: 'models:/base/1.0.0' }],
    });
  });

  test.each([
    [{ temperature: 'hot' }, 400, 'temperature'],
    [{ max_tokens: -1 }, 400, 'max_tokens'],
    [{ n: 1e9 }, 400, 'n'],
    [{ messages: [] }, 400, 'messages'],
    [{ messages: [{ role: 'tool', content: 'x' }] }, 400, 'messages[0].role'],
    [{ tools: [{}] }, 400, 'tools'],
    [{ model: '../x' }, 400, 'model'],
    [{ messages: [{ role: 'user', content: 'full' }] }, 429, null],
  ])('%j is refused in its own form', async (body, httpStatus, param) => {
    if (!mesh) return;
    const response = await chat(body);
    expect(response.status).toBe(httpStatus);
    expect(await response.json()).toMatchObject({ error: { param, message: expect.any(String) } });
  });

  test('a client that goes stops the work', async (t) => {
    if (!mesh) return t.skip();
    const before = cancelled;
    const controller = new AbortController();
    const response = await chat(
      { stream: true, messages: [{ role: 'user', content: 'endless' }] },
      { signal: controller.signal },
    );
    await response.body!.getReader().read();
    controller.abort();
    await expect.poll(() => cancelled).toBe(before + 1);
  });
});
