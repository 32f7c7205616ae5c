import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import { EchoService } from '@landfall/proto/landfall/mesh/v1/echo_service_pb.js';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { SignJWT } from 'jose';
import { afterEach, expect, test } from 'vitest';
import { resourceExhausted } from '../errors/errors.ts';
import { IdentitySigner } from '../identity/signer.ts';
import { createLogger } from '../log/logger.ts';
import type { CallContext } from './call-context.ts';
import { RpcChannel } from './client.ts';
import { checkHealth } from './health-client.ts';
import { RpcServer } from './server.ts';

const key = randomBytes(48);
const signer = new IdentitySigner(key);
const editor = { subject: 'key:1', tenant: 'acme', role: Role.EDITOR };
const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function echoServer(overrides: Record<string, unknown> = {}) {
  const seen: CallContext[] = [];
  const server = new RpcServer({
    signer,
    logger: createLogger('echo', 'silent'),
    maxReceiveBytes: 64 * 1024,
  });
  server.add(EchoService, {
    echo: async ({ text, number }, context) => {
      seen.push(context);
      return { echo: { text, number } };
    },
    async *echoStream({ text, count }, context) {
      seen.push(context);
      for (let i = 0; i < count; i++) yield { echo: { text, number: BigInt(i) } };
    },
    async collect(requests) {
      const texts: string[] = [];
      for await (const request of requests) texts.push(request.text);
      return { text: texts.join(''), count: texts.length };
    },
    ...overrides,
  });
  const port = await server.listen('127.0.0.1', 0);
  server.health.set('readiness', true);
  const channel = new RpcChannel(`127.0.0.1:${port}`, { signer, identity: editor });
  cleanups.push(
    () => server.drain(100),
    () => channel.close(),
  );
  return { server, port, channel, client: channel.client(EchoService), seen };
}

test('carries the three kinds of calls with identity and deadline', async () => {
  const { client, seen } = await echoServer();
  expect((await client.echo({ text: '你好', number: 7n })).echo).toMatchObject({ text: '你好', number: 7n });
  expect(seen[0]!.identity).toEqual(editor);
  expect(seen[0]!.deadlineMs - Date.now()).toBeGreaterThan(1000);
  const numbers: bigint[] = [];
  for await (const { echo } of client.echoStream({ text: 'x', count: 500 })) numbers.push(echo!.number);
  expect(numbers).toEqual(Array.from({ length: 500 }, (_, i) => BigInt(i)));
  async function* texts() {
    for (const text of ['a', 'b', 'c']) yield { text };
  }
  expect(await client.collect(texts())).toMatchObject({ text: 'abc', count: 3 });
});

test('a broken rule is INVALID_ARGUMENT and names its field', async () => {
  const { client, seen } = await echoServer();
  const call = client.echo({ text: 'x'.repeat(2000), number: -1n });
  await expect(call).rejects.toMatchObject({
    code: status.INVALID_ARGUMENT,
    fieldViolations: [{ field: 'text' }, { field: 'number' }],
  });
  expect(seen).toHaveLength(0);
});

test('forged, foreign, expired and absent identities are UNAUTHENTICATED', async () => {
  const { port } = await echoServer();
  const jwt = (secret: Uint8Array, audience: string, exp: string, alg = 'HS256') =>
    new SignJWT({ tenant: 'acme', role: Role.ADMIN })
      .setProtectedHeader({ alg })
      .setIssuer('landfall')
      .setAudience(audience)
      .setSubject('key:1')
      .setExpirationTime(exp)
      .sign(secret);
  const none = `${Buffer.from('{"alg":"none"}').toString('base64url')}.${Buffer.from('{"sub":"x","tenant":"acme","role":4,"iss":"landfall","aud":"landfall-mesh","exp":9999999999}').toString('base64url')}.`;
  const tokens = [
    none,
    await jwt(randomBytes(48), 'landfall-mesh', '5m'),
    await jwt(key, 'another', '5m'),
    await jwt(key, 'landfall-mesh', '-1m'),
    await jwt(randomBytes(64), 'landfall-mesh', '5m', 'HS512'),
    '',
    'a.b.c',
  ];
  for (const token of tokens) {
    const forged = { mint: () => token } as unknown as IdentitySigner;
    const channel = new RpcChannel(`127.0.0.1:${port}`, { signer: forged, identity: editor });
    cleanups.push(() => channel.close());
    await expect(channel.client(EchoService).echo({})).rejects.toMatchObject({
      code: status.UNAUTHENTICATED,
    });
  }
});

test('a role below what the method declares is PERMISSION_DENIED', async () => {
  const { channel } = await echoServer();
  const viewer = { ...editor, role: Role.VIEWER };
  const client = channel.client(EchoService);
  await expect(client.echo({}, { identity: viewer })).resolves.toBeDefined();
  async function* nothing() {}
  await expect(client.collect(nothing(), { identity: viewer })).rejects.toMatchObject({
    code: status.PERMISSION_DENIED,
  });
});

test('known errors keep their details; unknown ones leave as internal without their message', async () => {
  const known = await echoServer({
    echo: () => {
      throw resourceExhausted('the queue is full', { retryAfterMs: 1500, metadata: { queue: '8' } });
    },
  });
  await expect(known.client.echo({})).rejects.toMatchObject({
    code: status.RESOURCE_EXHAUSTED,
    message: 'the queue is full',
    retryAfterMs: 1500,
    metadata: { queue: '8' },
  });
  const unknown = await echoServer({
    echo: () => {
      throw new Error('secret at /home/x');
    },
  });
  const failure = await unknown.client.echo({}).catch((error: Error) => error);
  expect(failure).toMatchObject({ code: status.INTERNAL });
  expect((failure as Error).message).not.toContain('secret');
});

test("a caller's cancel and a deadline stop the handler", async () => {
  let stopped = 0;
  async function* endless(_request: unknown, context: CallContext) {
    try {
      for (let i = 0; ; i++) {
        context.signal.throwIfAborted();
        yield { echo: { text: '', number: BigInt(i) } };
        await delay(1);
      }
    } finally {
      stopped += 1;
    }
  }
  const { client } = await echoServer({ echoStream: endless });
  for await (const _ of client.echoStream({ count: 1 })) break;
  const late = async () => {
    for await (const _ of client.echoStream({ count: 1 }, { timeoutMs: 100 }));
  };
  await expect(late()).rejects.toMatchObject({ code: status.DEADLINE_EXCEEDED });
  await expect.poll(() => stopped).toBe(2);
});

test('a message over the limit is RESOURCE_EXHAUSTED', async () => {
  const { client } = await echoServer();
  await expect(client.echo({ text: 'x'.repeat(100_000) })).rejects.toMatchObject({
    code: status.RESOURCE_EXHAUSTED,
  });
});

test('a drain lets running calls end and refuses new ones', async () => {
  const gate = Promise.withResolvers<void>();
  const { server, client, port } = await echoServer({
    echo: async () => {
      await gate.promise;
      return {};
    },
  });
  expect(await checkHealth(`127.0.0.1:${port}`, 'readiness')).toBe(true);
  const running = client.echo({});
  await delay(50);
  const drained = server.drain(5000);
  gate.resolve();
  await expect(running).resolves.toBeDefined();
  await drained;
  await expect(client.echo({}, { timeoutMs: 500 })).rejects.toMatchObject({ code: status.UNAVAILABLE });
});
