import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { create, toBinary } from '@bufbuild/protobuf';
import { resourceExhausted } from '@landfall/common/errors/errors.ts';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import {
  ListModelsRequestSchema,
  ListModelsResponseSchema,
} from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';
import { FinishReason } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import type { GenerateRequest } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type ChainLine, readLine, sha256 } from '../src/audit/chain.ts';
import { linesOf, segmentsOf, shardsOf } from '../src/audit/segments.ts';
import { verifyLog } from '../src/audit/verify.ts';
import { GatewayMesh } from './harness.ts';

const SECRET_TEXT = '只有我知道的话';
let mesh: GatewayMesh | undefined;
let url: string;
let apiKey: string;
/** Lines of the log when the first part of a stream had come. */
let seenAtFirstPart: ChainLine[] = [];

async function* generate({ messages }: GenerateRequest, { signal }: CallContext) {
  if (messages[0]!.content === 'full') throw resourceExhausted('the queue is full');
  yield { delta: SECRET_TEXT };
  if (messages[0]!.content === 'endless') {
    while (!signal.aborted) await delay(5);
    signal.throwIfAborted();
  }
  yield { finishReason: FinishReason.STOP, usage: { inputTokens: 5, outputTokens: 3 } };
}

beforeAll(async () => {
  mesh = await GatewayMesh.start({ generate, registry: { listModels: () => ({ models: [{ name: 'a' }] }) } });
  if (mesh) ({ url, apiKey } = mesh);
});
afterAll(() => mesh?.[Symbol.asyncDispose]());

const folder = () => join(mesh!.database.folder, 'gateway/audit');
async function logged(): Promise<ChainLine[]> {
  const lines: ChainLine[] = [];
  for (const { path } of segmentsOf(join(folder(), shardsOf(folder())[0]!))) {
    for await (const { bytes } of linesOf(path)) lines.push(readLine(bytes)!);
  }
  return lines;
}

function post(path: string, body: object, key = apiKey, signal?: AbortSignal) {
  return fetch(`${url}${path}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
    ...(signal ? { signal } : {}),
  });
}
const chat = (content: string, more: object = {}, signal?: AbortSignal) =>
  post(
    '/v1/chat/completions',
    { model: 'qa', messages: [{ role: 'user', content }], ...more },
    apiKey,
    signal,
  );
const LIST = '/landfall.registry.v1.RegistryService/ListModels';

test('calls, refusals and changes are in the log before their answers leave, by digests alone', async (t) => {
  if (!mesh) return t.skip();
  const from = (await logged()).length;
  const outcomes = async () => (await logged()).slice(from).map(({ outcome }) => outcome);
  await (await post(LIST, {})).text();
  expect(await outcomes()).toEqual(['OK']);
  await (await post(LIST, {}, 'lf_wrong')).text();
  await (await post('/landfall.registry.v1.RegistryService/CreateModel', '' as never)).text();
  await (await chat(SECRET_TEXT)).text();
  await (await chat('full')).text();
  await (await chat('x', { temperature: 'hot' })).text();
  const stream = (await chat(SECRET_TEXT, { stream: true })).body!.getReader();
  await stream.read();
  seenAtFirstPart = await logged();
  while (!(await stream.read()).done);
  const lines = (await logged()).slice(from);
  expect(lines.map(({ outcome }) => outcome)).toEqual([
    'OK',
    'UNAUTHENTICATED',
    expect.stringMatching(/INVALID_ARGUMENT|CANCELLED/),
    'OK',
    'RESOURCE_EXHAUSTED',
    'INVALID_ARGUMENT',
    'BEGUN',
    'OK',
  ]);
  expect(seenAtFirstPart.at(-1)!.outcome).toMatch(/BEGUN|OK/);
  expect(lines.at(-1)!.id).toBe(lines.at(-2)!.id);
  const [list, , , whole] = lines;
  expect(list).toMatchObject({ tenant: 'default', subject: expect.stringMatching(/^key:/), kind: 'call' });
  expect(list!.request).toBe(sha256(toBinary(ListModelsRequestSchema, create(ListModelsRequestSchema))));
  const answer = create(ListModelsResponseSchema, { models: [{ name: 'a' }] });
  expect(list!.response).toBe(sha256(toBinary(ListModelsResponseSchema, answer)));
  expect(whole).toMatchObject({ route: 'POST /v1/chat/completions', resource: 'models/qa' });
  const shard = join(folder(), shardsOf(folder())[0]!);
  for (const { path } of segmentsOf(shard)) expect(readFileSync(path, 'utf8')).not.toContain(SECRET_TEXT);
});

test('a caller who goes leaves a line that says so', async (t) => {
  if (!mesh) return t.skip();
  const gone = new AbortController();
  const response = await chat('endless', { stream: true }, gone.signal);
  await response.body!.getReader().read();
  gone.abort();
  await expect.poll(async () => (await logged()).at(-1)!.outcome).toBe('CANCELLED');
});

test('it is searched by caller, resource and time, within the tenant', async (t) => {
  if (!mesh) return t.skip();
  const search = async (body: object) => {
    const response = await post('/landfall.gateway.v1.AdminService/SearchAudit', body);
    return ((await response.json()) as { entries?: Record<string, string>[] }).entries ?? [];
  };
  const made = await (
    await post('/landfall.gateway.v1.AdminService/CreateKey', { name: 'a', role: 'ROLE_VIEWER' })
  ).json();
  const { key, secret } = made as { key: { id: string }; secret: string };
  const start = new Date().toISOString();
  await post(LIST, {}, secret);
  const byCaller = await search({ subject: `key:${key.id}` });
  expect(byCaller).toMatchObject([
    { method: 'landfall.registry.v1.RegistryService/ListModels', outcome: 'OK', kind: 'call' },
  ]);
  expect(await search({ subject: `key:${key.id}`, to: start })).toEqual([]);
  expect(await search({ subject: `key:${key.id}`, from: start })).toHaveLength(1);
  expect(await search({ resource: `keys/${key.id}` })).toMatchObject([
    { method: 'landfall.gateway.v1.AdminService/CreateKey', kind: 'change' },
  ]);
  const [streamed] = await search({ resource: 'models/qa', pageSize: 1 });
  expect(streamed).toMatchObject({
    outcome: 'CANCELLED',
    requestDigest: expect.stringMatching(/^[\w-]{43}$/),
  });
  // The change that was searched for is a line of the chain, in its place.
  const change = (await logged()).find(({ resource }) => resource === `keys/${key.id}`);
  expect(change).toMatchObject({ kind: 'change', holds: true });
});

test('strangers are counted once they are many', async (t) => {
  if (!mesh) return t.skip();
  const before = (await logged()).length;
  await Promise.all(Array.from({ length: 400 }, async () => (await post(LIST, {}, 'lf_wrong')).text()));
  const seconds = Map.groupBy((await logged()).slice(before), ({ timeMs }) => Math.floor(timeMs / 1000));
  // A hundred a second, and a line that counts the others of the second before.
  for (const lines of seconds.values()) expect(lines.length).toBeLessThanOrEqual(101);
});

test('stopped, it is vouched for to its end', async (t) => {
  if (!mesh) return t.skip();
  const path = folder();
  const closing = mesh.stopGateway();
  await closing;
  const everything = { fromMs: Number.NEGATIVE_INFINITY, toMs: Number.POSITIVE_INFINITY };
  const { verdict, shards } = await verifyLog({ log: path, checkpoints: '', key: '', ...everything });
  expect([verdict, shards[0]!.unsealed]).toEqual(['holds', 0]);
});
