import { createHmac } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { readLauncherConfig } from '@landfall/deploy/config.ts';
import { Mesh } from '@landfall/deploy/mesh/mesh.ts';
import { publicMethods } from '@landfall/gateway/edge/services.ts';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';

let home: string;
let mesh: Mesh;
let url: string;
let apiKey: string;
let pids: Record<string, number>;

beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), 'landfall-bad-inputs-'));
  const environment = { ...process.env, LANDFALL_DATABASE_URL: '', LANDFALL_LOG_LEVEL: 'warn' };
  mesh = new Mesh({
    ...readLauncherConfig({ LANDFALL_HOME: home, LANDFALL_GATEWAY_PORT: '0' }),
    environment,
  });
  const address = await mesh.start();
  [url, apiKey] = [address.gateway, address.apiKey];
  pids = mesh.processes;
  await post('registry.v1.RegistryService/CreateModel', { name: 'known', kind: 'KIND_DATASET' });
  await post('registry.v1.RegistryService/CreateVersion', { name: 'known', version: '1.0.0' });
  await post('prompt.v1.PromptService/CreatePrompt', {
    name: 'known',
    draft: { messages: [{ role: 'user', template: '{question} {"json": {"a": 1}}' }] },
  });
}, 120_000);
afterAll(async () => {
  await mesh.stop();
  rmSync(home, { recursive: true, force: true });
}, 60_000);

/** Good traffic beside the bad, and every process the one that was started. */
afterEach(async () => {
  const { status, body } = await post('registry.v1.RegistryService/GetModel', { name: 'known' });
  expect([status, body.model?.name]).toEqual([200, 'known']);
  expect(mesh.processes).toEqual(pids);
});

interface Answer {
  status: number;
  // biome-ignore lint/suspicious/noExplicitAny: JSON of any method.
  body: any;
}

async function post(method: string, body: unknown, headers: Record<string, string> = {}): Promise<Answer> {
  const response = await fetch(`${url}/landfall.${method}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
  return { status: response.status, body: await response.json().catch(() => ({})) };
}

/** An error says its code, and nothing of paths, stacks and addresses inside. */
function expectError(answer: Answer, ...codes: string[]): void {
  expect(codes).toContain(answer.body.code);
  const said = JSON.stringify(answer.body);
  expect(said).not.toContain(home);
  expect(said).not.toMatch(/node_modules|\.ts:\d|at \w+ \(|ECONN|SELECT|insert into/i);
}

const PATHS = [
  '../x',
  '..\\..\\x',
  '..%2f..%2fx',
  '%252e%252e/x',
  '/etc/passwd',
  'a\0b',
  'a/../../b',
  '.',
  '..',
  'C:\\x',
  'a//b',
  'x\ny',
];

describe('names and paths', () => {
  test.each(PATHS)('a model named %j', async (name) => {
    expectError(
      await post('registry.v1.RegistryService/CreateModel', { name, kind: 'KIND_BASE' }),
      'invalid_argument',
    );
    expectError(await post('prompt.v1.PromptService/GetPrompt', { name }), 'invalid_argument');
    expectError(await post('balancer.v1.BalancerService/GetDeployment', { name }), 'invalid_argument');
  });
  test.each(PATHS)('a file at %j', async (path) => {
    const header = { name: 'known', version: '1.0.0', path };
    expectError(
      await post('registry.v1.RegistryService/PutArtifact', { header, content: 'eA==' }),
      'invalid_argument',
    );
  });
  test.each(PATHS.filter((path) => path !== '.'))('an import of %j', async (folder) => {
    expectError(
      await post('registry.v1.RegistryService/ImportModel', { name: 'imported', folder }),
      'invalid_argument',
    );
  });
});

describe('digests', () => {
  const hex = 'a'.repeat(64);
  test.each([
    'sha256:../../x',
    `sha256:${hex.slice(1)}`,
    `sha256:${hex}a`,
    `sha256:${hex.toUpperCase()}`,
    hex,
    `md5:${hex}`,
  ])('the digest %j', async (digest) => {
    const header = { name: 'known', version: '1.0.0', path: 'rows.json', digest };
    expectError(
      await post('registry.v1.RegistryService/PutArtifact', { header, content: 'eA==' }),
      'invalid_argument',
    );
  });
});

describe('model files', () => {
  const put = (path: string, content: Buffer) =>
    post('registry.v1.RegistryService/PutArtifact', {
      header: { name: 'lying', version: '1.0.0', path },
      content: content.toString('base64'),
    });
  const lying = Buffer.alloc(64);
  lying.writeBigUInt64LE(2n ** 60n);
  const pickle = Buffer.from('80049505000000000000008c0178942e', 'hex');
  test.each([
    ['a header of 2^60 bytes', 'model.safetensors', lying],
    ['a truncated file', 'model.safetensors', Buffer.from([1, 2, 3])],
    ['a pickle', 'pytorch_model.bin', pickle],
    ['a pickle under another name', 'model.safetensors', pickle],
  ])('%s is never committed', async (_what, path, content) => {
    await post('registry.v1.RegistryService/CreateModel', { name: 'lying', kind: 'KIND_BASE' });
    await post('registry.v1.RegistryService/CreateVersion', { name: 'lying', version: '1.0.0' });
    const config = {
      model_type: 'llama',
      vocab_size: 8,
      hidden_size: 8,
      intermediate_size: 8,
      num_hidden_layers: 1,
      num_attention_heads: 2,
    };
    await put('config.json', Buffer.from(JSON.stringify(config)));
    await put('tokenizer.json', Buffer.from('{"model":{"type":"BPE","vocab":{},"merges":[]}}'));
    const answer = await put(path, content);
    const commit = await post('registry.v1.RegistryService/CommitVersion', {
      name: 'lying',
      version: '1.0.0',
    });
    expectError(answer.status === 200 ? commit : answer, 'invalid_argument');
  });
});

describe('numbers', () => {
  const spec = {
    baseModel: 'models:/known/1.0.0',
    trainDataset: 'models:/known/1.0.0',
    method: 'METHOD_LORA',
    outputModel: 'out',
  };
  test.each([
    ['text.v1.TextInferenceService/Generate', { model: 'x', prompt: 'x', sampling: { maxTokens: -1 } }],
    [
      'text.v1.TextInferenceService/Generate',
      { model: 'x', prompt: 'x', sampling: { maxTokens: 2 ** 31 - 1 } },
    ],
    ['text.v1.TextInferenceService/Generate', { model: 'x', prompt: 'x', sampling: { temperature: 'NaN' } }],
    ['text.v1.TextInferenceService/Generate', { model: 'x', prompt: 'x', sampling: { topP: 0 } }],
    ['text.v1.TextInferenceService/Generate', { model: 'x', prompt: 'x', sampling: { topLogprobs: 1e6 } }],
    ['text.v1.TextInferenceService/Generate', { model: 'x' }],
  ] as const)('%s with %j', async (method, request) => {
    // Server streams speak Connect's envelope.
    const message = Buffer.from(JSON.stringify(request));
    const head = Buffer.alloc(5);
    head.writeUInt32BE(message.length, 1);
    const response = await fetch(`${url}/landfall.${method}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/connect+json' },
      body: Buffer.concat([head, message]),
    });
    const end = JSON.parse((await response.text()).replace(/^[^{]*/, ''));
    expect(end.error.code).toBe('invalid_argument');
  });
  test.each([
    ['trainer.v1.TrainerService/CreateJob', { spec: { ...spec, config: { rank: -1 } } }],
    ['trainer.v1.TrainerService/CreateJob', { spec: { ...spec, config: { batchSize: 1e6 } } }],
    ['trainer.v1.TrainerService/CreateJob', { spec: { ...spec, config: { learningRate: 'NaN' } } }],
    ['trainer.v1.TrainerService/CreateJob', { spec: { ...spec, config: { loraDropout: 1 } } }],
    ['balancer.v1.BalancerService/Deploy', { name: 'x', model: 'models:/known/1.0.0', replicas: 1e9 }],
    ['balancer.v1.BalancerService/Deploy', { name: 'x', model: 'known', replicas: 1 }],
    ['registry.v1.RegistryService/ListModels', { pageSize: -1 }],
    ['registry.v1.RegistryService/ListModels', { pageSize: 1e6 }],
    ['registry.v1.RegistryService/ListModels', { pageToken: "' or 1=1 --" }],
    ['registry.v1.RegistryService/ListModels', { namePrefix: "x'; drop table model; --" }],
    ['prompt.v1.PromptService/ListInvocations', { pageToken: 'x'.repeat(600) }],
  ] as const)('%s with %j', async (method, request) => {
    expectError(await post(method, request), 'invalid_argument');
  });
});

describe('templates', () => {
  test.each([
    '{{constructor.constructor("return process")()}}',
    '{x.__class__}',
    '{x.constructor}',
    '{% for i in range(10**9) %}x{% endfor %}',
    '{{ 7*7 }}',
    // biome-ignore lint/suspicious/noTemplateCurlyInString: it is the hostile text itself.
    '${process.env}',
    '#{7*7}',
  ])('%s in a value is text as it is', async (question) => {
    const { status, body } = await post('prompt.v1.PromptService/RenderPrompt', {
      name: 'known',
      variables: { question },
    });
    expect([status, body.messages?.[0]?.content]).toEqual([200, `${question} {"json": {"a": 1}}`]);
  });
  test.each([
    ['{{constructor.constructor("return process")()}}', 'invalid_argument'],
    ['{{ question.__class__ }}', 'invalid_argument'],
    ['{{ question["constructor"] }}', 'invalid_argument'],
    ['{% import "os" %}', 'invalid_argument'],
    ['{% include "endless@live" %}', 'not_found', 'failed_precondition'],
  ] as const)('the Jinja template %s is refused', async (text, ...codes) => {
    const draft = { text, format: 'TEMPLATE_FORMAT_JINJA' };
    expectError(await post('prompt.v1.PromptService/CreatePrompt', { name: 'endless', draft }), ...codes);
  });
  test.each([
    '{% for i in range(10**9) %}x{% endfor %}',
    '{% for i in range(999) %}{% for j in range(999) %}{% for k in range(999) %}{% endfor %}{% endfor %}{% endfor %}',
    '{{ "a" * 10**9 }}',
    `{% set s = "ab" %}${'{% set s = s ~ s %}'.repeat(40)}{{ s }}`,
  ])('the Jinja template %s ends as too costly', async (text) => {
    const name = `costly-${Math.random().toString(36).slice(2)}`;
    const draft = { text, format: 'TEMPLATE_FORMAT_JINJA' };
    expect((await post('prompt.v1.PromptService/CreatePrompt', { name, draft })).status).toBe(200);
    const answer = await post('prompt.v1.PromptService/RenderPrompt', { name });
    expectError(answer, 'resource_exhausted');
  });
  test.each([
    [{ outputContract: { regex: '(a+)+b' } }],
    [{ outputContract: { regex: '((a{1,99}){1,99}){1,99}' } }],
    [{ outputContract: { jsonSchema: '{"properties":{"a":{"$ref":"#"}}}' } }],
    [{ variables: [{ name: 'q', pattern: '(x*)*y' }] }],
  ])('the draft with %j is refused', async (more) => {
    const draft = { text: 'x', ...more };
    expectError(
      await post('prompt.v1.PromptService/CreatePrompt', { name: 'bounded', draft }),
      'invalid_argument',
    );
  });
  test.each([
    `---\nlandfall_prompt: 1\nname: a\ndescription: ${'['.repeat(20_000)}\n---\n::: user\nx\n`,
    '---\nlandfall_prompt: 1\nname: a\nbase: &a [x, x]\nmore: [*a, *a]\n---\n::: user\nx\n',
    '---\nlandfall_prompt: 1\nname: !!js/function x\n---\n::: user\nx\n',
    '---\nlandfall_prompt: 1\n__proto__: {name: a}\n---\n::: user\nx\n',
  ])('a hostile prompt file is refused', async (content) => {
    expectError(
      await post('prompt.v1.PromptLibraryService/ImportPrompt', { content, name: 'file' }),
      'invalid_argument',
    );
  });
  test('values that are missing, unknown or ill-typed are errors that name the variable', async () => {
    for (const [variables, name] of [
      [{}, 'question'],
      [{ question: 'x', other: 1 }, 'other'],
      [{ question: 7 }, 'question'],
    ] as const) {
      const answer = await post('prompt.v1.PromptService/RenderPrompt', { name: 'known', variables });
      expectError(answer, 'invalid_argument');
      expect(JSON.stringify(answer.body)).toContain(`variables.${name}`);
    }
  });
});

describe('tokens', () => {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const claims = part({
    sub: 'x',
    tenant: 'default',
    role: 4,
    aud: 'landfall-mesh',
    iss: 'landfall',
    exp: 9_999_999_999,
  });
  const signed = `${part({ alg: 'HS256' })}.${claims}`;
  const near = () => `${apiKey.slice(0, -1)}${apiKey.endsWith('A') ? 'B' : 'A'}`;
  test.each([
    ['none', () => ''],
    ['no scheme', () => apiKey],
    ['another scheme', () => `Basic ${apiKey}`],
    ['a near miss', () => `Bearer ${near()}`],
    ['a longer one', () => `Bearer ${apiKey}A`],
    ['alg none', () => `Bearer ${part({ alg: 'none' })}.${claims}.`],
    [
      'a guessed HS256',
      () => `Bearer ${signed}.${createHmac('sha256', 'secret').update(signed).digest('base64url')}`,
    ],
    ['SQL', () => `Bearer lf_' or 1=1 --`],
  ])('%s is UNAUTHENTICATED on every method', async (_what, authorization) => {
    for (const method of publicMethods.keys()) {
      const response = await fetch(`${url}/${method}`, {
        method: 'POST',
        headers: { authorization: authorization(), 'content-type': 'application/json' },
        body: '{}',
      });
      // Streams take another content type over Connect; none gets to a handler.
      expect([401, 415]).toContain(response.status);
      await response.arrayBuffer();
    }
    const models = await fetch(`${url}/v1/models`, { headers: { authorization: authorization() } });
    expect(models.status).toBe(401);
  });
});

describe('routes', () => {
  test.each([
    'landfall.registry.v1.RegistryService//ListModels',
    '/landfall.registry.v1.RegistryService/ListModels',
    'landfall.registry.v1.registryservice/ListModels',
    'landfall.registry.v1.RegistryService/listModels',
    'landfall.registry.v1.RegistryService/ListModels/',
    'landfall.registry.v1.RegistryService%2fListModels',
    'landfall.trainer.v1.WorkerService/StartAttempt',
    'landfall.mesh.v1.EchoService/Echo',
    'grpc.reflection.v1.ServerReflection/ServerReflectionInfo',
    '.env',
    'admin',
  ])('%s does not exist', async (path) => {
    const response = await fetch(`${url}/${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{}',
    });
    expect(response.status).toBe(404);
    expect(await response.json()).toMatchObject({ code: 'unimplemented' });
  });
  test('a role below what a method declares is refused', async () => {
    const { body } = await post('gateway.v1.AdminService/CreateKey', { name: 'viewer', role: 'ROLE_VIEWER' });
    const viewer = { authorization: `Bearer ${body.secret}` };
    expect((await post('registry.v1.RegistryService/ListModels', {}, viewer)).status).toBe(200);
    for (const method of [
      'registry.v1.RegistryService/CreateModel',
      'gateway.v1.AdminService/CreateKey',
      'balancer.v1.BalancerService/Deploy',
    ]) {
      expectError(await post(method, {}, viewer), 'permission_denied');
    }
    expect((await post('gateway.v1.AdminService/RevokeKey', { id: body.key.id })).status).toBe(200);
    expectError(await post('registry.v1.RegistryService/ListModels', {}, viewer), 'unauthenticated');
  });
});

describe('transport', () => {
  test('a message over the limit', async () => {
    const answer = await post('registry.v1.RegistryService/CreateModel', {
      name: 'x',
      description: 'x'.repeat(5 * 1024 * 1024),
    });
    expectError(answer, 'resource_exhausted');
  });
  test('a small gzip that holds a large message', async () => {
    const body = gzipSync(Buffer.alloc(256 * 1024 * 1024, 0x20));
    const response = await fetch(`${url}/landfall.registry.v1.RegistryService/ListModels`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${apiKey}`,
        'content-type': 'application/json',
        'content-encoding': 'gzip',
      },
      body,
    });
    expect(await response.json()).toMatchObject({ code: 'resource_exhausted' });
  });
  test.each(['{', '[]', '"x"', '{"name":', '{"__proto__":{"admin":true},"constructor":1,"name":7}'])(
    'the body %s',
    async (body) => {
      expectError(await post('registry.v1.RegistryService/CreateModel', body), 'invalid_argument');
    },
  );
  test('500 connections that say nothing do not keep others out', async () => {
    const { port } = new URL(url);
    const sockets = Array.from({ length: 500 }, () =>
      connect(Number(port), '127.0.0.1').on('error', () => {}),
    );
    await Promise.all(
      Array.from({ length: 20 }, () => post('registry.v1.RegistryService/ListModels', {})),
    ).then((answers) => {
      for (const { status } of answers) expect(status).toBe(200);
    });
    for (const socket of sockets) socket.destroy();
  });
});
