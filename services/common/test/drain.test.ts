import * as grpc from '@grpc/grpc-js';
import { service as healthService } from 'grpc-health-check';
import { expect, test } from 'vitest';
import { checkHealth } from '../src/rpc/health-client.ts';
import { atEnd, connect, echo, serve, stopped } from './echo.ts';

const { status } = grpc;

/** Follows a health status; every answer goes into the list, and `ended` at the end. */
function watchHealth(address: string, name: string) {
  const client = new grpc.Client(address, grpc.credentials.createInsecure());
  atEnd(() => client.close());
  const watch = healthService.Watch!;
  const read = watch.responseDeserialize as (bytes: Buffer) => { status: string };
  const call = client.makeServerStreamRequest(watch.path, watch.requestSerialize, read, { service: name });
  const heard: string[] = [];
  call.on('data', (reply: { status: string }) => heard.push(reply.status));
  call.on('error', () => heard.push('failed'));
  call.on('end', () => heard.push('ended'));
  return heard;
}

test('liveness and readiness are apart, and can be watched', async () => {
  const { server, address } = await serve();
  const heard = watchHealth(address, 'readiness');
  expect(await checkHealth(address, '')).toBe(true);
  expect(await checkHealth(address, 'readiness')).toBe(true);
  expect(await checkHealth(address, 'unknown')).toBe(false);
  server.health.set('readiness', false);
  expect(await checkHealth(address, '')).toBe(true);
  expect(await checkHealth(address, 'readiness')).toBe(false);
  await expect.poll(() => heard).toEqual(['SERVING', 'NOT_SERVING']);
});

test('health watches do not hold a drain, and hear that it begins', async () => {
  const { server, address } = await serve();
  const heard = watchHealth(address, 'readiness');
  await expect.poll(() => heard).toEqual(['SERVING']);
  await server.drain(600_000);
  await expect.poll(() => heard).toEqual(['SERVING', 'NOT_SERVING', 'ended']);
});

test('streams without an end of their own learn of a drain by its signal', async () => {
  const { server, address } = await serve({
    async *echoStream() {
      yield {};
      await new Promise((resolve) => server.draining.addEventListener('abort', resolve, { once: true }));
      yield { echo: { text: 'goodbye' } };
    },
  });
  const said: string[] = [];
  const reading = (async () => {
    for await (const { echo } of connect(address).echoStream({ count: 1 })) said.push(echo?.text ?? 'hello');
  })();
  await expect.poll(() => said).toEqual(['hello']);
  await server.drain(600_000);
  await reading;
  expect(said).toEqual(['hello', 'goodbye']);
});

test('under load no call in flight fails, and later ones are refused', async () => {
  const { server, address } = await serve({
    echo: async (request, context) => {
      await new Promise((resolve) => setTimeout(resolve, 20));
      return echo.echo(request, context);
    },
  });
  const client = connect(address);
  const failures: unknown[] = [];
  let answered = 0;
  let stop = false;
  const caller = async () => {
    while (!stop) {
      try {
        await client.echo({}, { attempts: 1 });
        answered++;
      } catch (error) {
        failures.push((error as { code: number }).code);
        stop = true;
      }
    }
  };
  const callers = Array.from({ length: 20 }, caller);
  await expect.poll(() => answered).toBeGreaterThan(50);
  await server.drain(10_000);
  await Promise.all(callers);
  // A call that had begun is answered; only ones that came after are refused.
  expect(new Set(failures)).toEqual(new Set([status.UNAVAILABLE]));
});

test('what outlasts the grace period is told, and a deaf handler does not hold the drain', async () => {
  const heard: unknown[] = [];
  const { server, address } = await serve({
    echo: async (_request, context) => {
      await stopped(context);
      heard.push((context.signal.reason as { code: number }).code);
      return {};
    },
    async *echoStream() {
      yield {};
      await new Promise(() => {});
    },
  });
  const client = connect(address);
  const told = expect(client.echo({}, { attempts: 1 })).rejects.toMatchObject({
    code: status.UNAVAILABLE,
    message: 'the server is stopping',
  });
  const reader = client.echoStream({ count: 1 })[Symbol.asyncIterator]();
  await reader.next();
  const cut = expect(reader.next()).rejects.toMatchObject({ code: status.UNAVAILABLE });
  await server.drain(50);
  await Promise.all([told, cut]);
  expect(heard).toEqual([status.UNAVAILABLE]);
  await server.drain(50);
});

test('a drain waits for handlers whose callers have gone', async () => {
  let cleaned = false;
  const begun = Promise.withResolvers<void>();
  const told = Promise.withResolvers<void>();
  const { server, address } = await serve({
    echo: async (_request, context) => {
      begun.resolve();
      await stopped(context);
      told.resolve();
      await new Promise((resolve) => setTimeout(resolve, 100));
      cleaned = true;
      return {};
    },
  });
  const cancel = new AbortController();
  const call = connect(address).echo({}, { signal: cancel.signal });
  await begun.promise;
  cancel.abort();
  await expect(call).rejects.toMatchObject({ code: status.CANCELLED });
  await told.promise;
  await server.drain(1_000);
  expect(cleaned).toBe(true);
});
