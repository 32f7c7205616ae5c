/** How calls come and go: compression, GET, HTTP/1.1 and HTTP/2, traces, readiness, limits, and what is no request. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type ClientHttp2Session, connect as connectHttp2 } from 'node:http2';
import { connect } from 'node:net';
import { brotliCompressSync, brotliDecompressSync, constants, gunzipSync, gzipSync } from 'node:zlib';
import { createClient, type Transport } from '@connectrpc/connect';
import {
  compressionBrotli,
  compressionGzip,
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from '@connectrpc/connect-node';
import { IdentitySigner } from '@landfall/common/identity/signer.ts';
import { createLogger } from '@landfall/common/log/logger.ts';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import { RpcServer } from '@landfall/common/rpc/server.ts';
import { RegistryService } from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';
import { FinishReason } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import { type Context, trace } from '@opentelemetry/api';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { GatewayMesh } from './harness.ts';

const LIST = '/landfall.registry.v1.RegistryService/ListModels';
const CHAT = '/v1/chat/completions';
const LONG = '长'.repeat(20_000);
const BEHIND = ['registry', 'trainer', 'prompt', 'vision'] as const;

let mesh: GatewayMesh | undefined;
let url: string;
let headers: Record<string, string>;
let seen: Context | undefined;
const open = new AsyncDisposableStack();
const probes = new Map<string, RpcServer>();

beforeAll(async () => {
  mesh = await GatewayMesh.start({
    async *generate({ messages }, { trace: context }) {
      seen = context;
      yield { delta: messages.at(-1)!.content };
      yield { finishReason: FinishReason.STOP, usage: { inputTokens: 1, outputTokens: 1 } };
    },
    registry: {
      listModels: ({ namePrefix }, { trace: context }: CallContext) => {
        seen = context;
        return { models: [{ name: namePrefix || 'any', description: LONG }] };
      },
    },
  });
  if (!mesh) return;
  open.use(mesh);
  url = mesh.url;
  headers = { authorization: `Bearer ${mesh.apiKey}`, 'content-type': 'application/json' };
});
afterAll(() => open.disposeAsync());

const chat = (content: string) => JSON.stringify({ model: 'qa', messages: [{ role: 'user', content }] });

function http2(): ClientHttp2Session {
  const session = connectHttp2(url).on('error', () => {});
  open.defer(() => session.destroy());
  return session;
}

/** What comes back for bytes that need be no request. */
async function raw(bytes: string): Promise<string> {
  const socket = connect(Number(new URL(url).port), '127.0.0.1').setEncoding('utf8');
  socket.on('error', () => {});
  socket.write(bytes);
  let text = '';
  socket.on('data', (part) => {
    text += part;
    // It stays open for the next request: one answer is enough.
    if (/\r\n\r\n.*\}$/s.test(text)) socket.end();
  });
  await once(socket, 'close');
  return text;
}

type Options = Omit<Parameters<typeof createGrpcTransport>[0], 'nodeOptions'>;
const TRANSPORTS: Record<string, (options: Options) => Transport> = {
  'Connect over HTTP/1.1': (options) => createConnectTransport({ ...options, httpVersion: '1.1' }),
  'Connect over HTTP/2': (options) => createConnectTransport({ ...options, httpVersion: '2' }),
  gRPC: createGrpcTransport,
  'gRPC-Web over HTTP/1.1': (options) => createGrpcWebTransport({ ...options, httpVersion: '1.1' }),
  'gRPC-Web over HTTP/2': (options) => createGrpcWebTransport({ ...options, httpVersion: '2' }),
};
const CODINGS = { gzip: compressionGzip, br: compressionBrotli };

describe('compression', () => {
  test.each(
    Object.keys(TRANSPORTS).flatMap((name) => Object.keys(CODINGS).map((coding) => [name, coding] as const)),
  )('%s, %s both ways', async (name, coding) => {
    if (!mesh) return;
    const compression = CODINGS[coding as keyof typeof CODINGS];
    let decompressed = 0;
    const counting: typeof compression = {
      ...compression,
      decompress: (bytes, most) => {
        decompressed += 1;
        return compression.decompress(bytes, most);
      },
    };
    const transport = TRANSPORTS[name]!({
      ...{ baseUrl: url, sendCompression: compression, acceptCompression: [counting], compressMinBytes: 0 },
      interceptors: [
        (next) => (request) => {
          request.header.set('authorization', headers.authorization!);
          return next(request);
        },
      ],
    });
    const { models } = await createClient(RegistryService, transport).listModels({ namePrefix: 'p' });
    expect([models[0]?.name, models[0]?.description]).toEqual(['p', LONG]);
    expect(decompressed).toBeGreaterThan(0);
  });

  test.each([
    ['gzip', gzipSync, gunzipSync],
    ['br', brotliCompressSync, brotliDecompressSync],
  ] as const)(
    'OpenAI’s routes take and give %s, over both versions of HTTP',
    async (coding, code, decode) => {
      if (!mesh) return;
      const stream = http2().request({
        ...{ ':method': 'POST', ':path': CHAT, ...headers },
        ...{ 'content-encoding': coding, 'accept-encoding': `identity;q=0.5, ${coding}` },
      });
      stream.end(code(chat(LONG)));
      const [head] = (await once(stream, 'response')) as [Record<string, unknown>];
      expect([head[':status'], head['content-encoding'], head.vary]).toEqual([
        200,
        coding,
        'Accept-Encoding',
      ]);
      const { choices } = JSON.parse(decode(Buffer.concat(await stream.toArray())).toString());
      expect(choices[0].message.content).toBe(LONG);
      const small = await fetch(url + CHAT, {
        ...{ method: 'POST', body: code(chat('x')) },
        headers: { ...headers, 'content-encoding': coding, 'accept-encoding': `${coding};q=0, *;q=0` },
      });
      expect([small.status, small.headers.get('content-encoding')]).toEqual([200, null]);
      expect(JSON.parse(await small.text()).choices[0].message.content).toBe('x');
    },
  );

  test('what is no compressed body, of an unknown coding, or a bomb is refused', {
    timeout: 180_000,
  }, async (t) => {
    if (!mesh) return t.skip();
    const bomb = Buffer.alloc(64 * 1024 * 1024, 0x20);
    const fast = { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } };
    const asks: [string, Buffer, number, string][] = [
      ['gzip', Buffer.from('{}'), 400, 'body: is not what its content-encoding says'],
      ['br', gzipSync('{}'), 400, 'body: is not what its content-encoding says'],
      ['compress', Buffer.from('{}'), 415, 'content-encoding: must be gzip, deflate, br or identity'],
      ['gzip, gzip', gzipSync(gzipSync('{}')), 415, 'content-encoding: must be'],
      ['gzip', gzipSync(bomb), 413, 'bytes when decompressed'],
      ['br', brotliCompressSync(bomb, fast), 413, 'bytes when decompressed'],
    ];
    const before = process.memoryUsage().rss;
    for (const [coding, body, status, message] of asks) {
      const response = await fetch(url + CHAT, {
        ...{ method: 'POST', body: body },
        headers: { ...headers, 'content-encoding': coding },
      });
      const { error } = (await response.json()) as { error: { message: string } };
      expect([coding, response.status, error.message]).toEqual([
        ...[coding, status],
        expect.stringContaining(message),
      ]);
    }
    expect(process.memoryUsage().rss - before).toBeLessThan(256 * 1024 * 1024);
  });
});

describe('Connect’s GET', () => {
  const get = (path: string, message: object, more: Record<string, string> = {}) => {
    const query = new URLSearchParams({
      ...{ connect: 'v1', encoding: 'json', message: JSON.stringify(message), ...more },
    });
    return fetch(`${url}${path}?${query}`, { headers: { authorization: headers.authorization! } });
  };
  test('asks what has no side effects, and nothing else', async (t) => {
    if (!mesh) return t.skip();
    const response = await get(LIST, { namePrefix: 'got' });
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({ models: [{ name: 'got' }] });
    expect(response.headers.get('cache-control')).toBe('no-store');
    expect((await get(LIST.replace('List', 'Create').replace('els', 'el'), { name: 'm' })).status).toBe(405);
    expect((await get(LIST, { pageSize: -1 })).status).toBe(400);
    const stranger = await fetch(`${url}${LIST}?connect=v1&encoding=json&message=%7B%7D`);
    expect(stranger.status).toBe(401);
  });
});

test('a trace goes on in the services behind, whichever way a call came', async (t) => {
  if (!mesh) return t.skip();
  const grpcFrame = Buffer.alloc(5);
  const asks: ((traceparent: string) => Promise<unknown>)[] = [
    (traceparent) => fetch(url + LIST, { method: 'POST', headers: { ...headers, traceparent }, body: '{}' }),
    (traceparent) =>
      fetch(url + CHAT, { method: 'POST', headers: { ...headers, traceparent }, body: chat('x') }),
    ...['application/grpc+proto', 'application/grpc-web+proto'].map((type) => async (traceparent: string) => {
      const stream = http2().request({
        ...{ ':method': 'POST', ':path': LIST, ...headers, traceparent },
        ...{ 'content-type': type, te: 'trailers' },
      });
      stream.end(grpcFrame);
      await stream.toArray();
    }),
  ];
  for (const ask of asks) {
    const id = randomBytes(16).toString('hex');
    const parent = randomBytes(8).toString('hex');
    await ask(`00-${id}-${parent}-01`);
    const span = trace.getSpanContext(seen!);
    expect(span?.traceId).toBe(id);
    seen = undefined;
  }
});

test('readiness tells of each service behind the door', { timeout: 300_000 }, async (t) => {
  if (!mesh) return t.skip();
  const env: Record<string, string> = {};
  for (const name of BEHIND) {
    const server = new RpcServer({
      ...{ signer: new IdentitySigner(randomBytes(48)), logger: createLogger('test', 'silent') },
    });
    env[`LANDFALL_${name.toUpperCase()}_URL`] = `127.0.0.1:${await server.listen('127.0.0.1', 0)}`;
    server.health.set('readiness', true);
    probes.set(name, server);
    open.defer(() => server.drain(100));
  }
  const ready = open.use((await GatewayMesh.start({ async *generate() {}, env }))!);
  const probe = async () => {
    const response = await fetch(`${ready.url}/readyz`);
    return { status: response.status, ...((await response.json()) as object) };
  };
  const services = Object.fromEntries([...BEHIND, 'balancer', 'database'].map((name) => [name, true]));
  await expect.poll(probe, { timeout: 60_000 }).toEqual({ status: 200, ready: true, services });
  for (const name of BEHIND) {
    probes.get(name)!.health.set('readiness', false);
    await expect
      .poll(probe, { timeout: 60_000 })
      .toEqual({ status: 503, ready: false, services: { ...services, [name]: false } });
    probes.get(name)!.health.set('readiness', true);
  }
  await expect.poll(probe, { timeout: 60_000 }).toEqual({ status: 200, ready: true, services });
  expect((await fetch(`${ready.url}/livez`)).status).toBe(200);
});

test('every path of the OpenAPI document is served, by the verbs that it names', async (t) => {
  if (!mesh) return t.skip();
  const response = await fetch(`${url}/v1/openapi.json`, { headers });
  const { paths } = (await response.json()) as { paths: Record<string, Record<string, object>> };
  const operations = Object.entries(paths).flatMap(([path, item]) =>
    ['get', 'post', 'delete'].filter((verb) => item[verb]).map((verb) => [path, verb.toUpperCase()] as const),
  );
  expect(operations.length).toBeGreaterThan(200);
  for (const [path, method] of operations) {
    const isRpc = path.startsWith('/landfall.');
    const gone = new AbortController();
    const asked = await fetch(`${url}${path.replaceAll(/\{\w+\}/g, 'some')}`, {
      ...{ method, signal: gone.signal },
      headers: isRpc ? { 'content-type': 'application/json' } : headers,
      ...(method === 'POST' ? { body: '{}' } : {}),
    });
    // Methods are gated before anything else; the others say what they know of the path.
    const code = isRpc ? undefined : (await asked.clone().text()).match(/"code":"(\w+)"/)?.[1];
    gone.abort();
    if (isRpc)
      expect([path, method, [401, 415]]).toEqual([path, method, expect.arrayContaining([asked.status])]);
    else
      expect([path, method, code]).not.toEqual([
        path,
        method,
        expect.stringMatching(/unknown_url|method_not/),
      ]);
  }
});

describe('what is no request that may be read', () => {
  const post = (host: string, version = '1.1') =>
    `POST ${LIST} HTTP/${version}\r\n${host}content-type: application/json\r\ncontent-length: 2\r\n\r\n{}`;
  test.each([
    ['no host, HTTP/1.1', post(''), 400],
    ['no host, HTTP/1.0', post('', '1.0'), 401],
    ['a host that is none', post('host: [\r\n'), 400],
    ['a host with a path', post('host: a/../b\r\n'), 400],
    ['a host with a user', post('host: a@b\r\n'), 400],
    ['a host with a space', post('host: a b\r\n'), 400],
    ['a host with a port that is none', post('host: a:99999\r\n'), 400],
    ['two hosts', post('host: a\r\nhost: b\r\n'), 400],
    ['two lengths', post('host: a\r\ncontent-length: 3\r\n'), 400],
    ['a length and chunks', post('host: a\r\ntransfer-encoding: chunked\r\n'), 400],
    ['a length below zero', post('host: a\r\n').replace('length: 2', 'length: -2'), 400],
    ['a line break in a header', post('host: a\r\nx-a: b\rc\r\n'), 400],
    ['a NUL in a header', post('host: a\r\nx-a: b\0c\r\n'), 400],
    ['a method that is none', post('host: a\r\n').replace('POST', 'P()ST'), 400],
    ['a version that is none', post('host: a\r\n', '9.9'), 400],
    ['large headers', post(`host: a\r\nx-a: ${'b'.repeat(20_000)}\r\n`), 431],
    ['many headers', post(`host: a\r\n${'x-a: b\r\n'.repeat(5000)}`), 431],
    ['bytes of another protocol', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n', 400],
  ])('%s', async (_what, bytes, status) => {
    if (!mesh) return;
    const answer = await raw(bytes);
    expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    expect(answer).toMatch(/\r\nx-request-id: [0-9a-f-]{36}\r\n/i);
    expect((await fetch(url + LIST, { method: 'POST', headers, body: '{}' })).status).toBe(200);
  });

  test.each([
    ['authority', { ':authority': '[' }, 400, '3'],
    ['authority with an odd port', { ':authority': 'a:99999' }, 400, '3'],
    ['headers', { 'x-a': 'b'.repeat(20_000) }, 431, '8'],
  ])('%s of HTTP/2, over Connect and gRPC', async (_what, more, status, grpcStatus) => {
    if (!mesh) return;
    const ask = async (type: string) => {
      const stream = http2().request({
        ...{ ':method': 'POST', ':path': LIST, ...headers, ...more, 'content-type': type },
      });
      stream.end();
      stream.resume();
      const [head] = (await once(stream, 'response')) as [Record<string, unknown>];
      expect(head['x-request-id']).toMatch(/^[0-9a-f-]{36}$/);
      return head;
    };
    expect((await ask('application/json'))[':status']).toBe(status);
    expect((await ask('application/grpc'))['grpc-status']).toBe(grpcStatus);
    expect((await fetch(url + LIST, { method: 'POST', headers, body: '{}' })).status).toBe(200);
  });
});
