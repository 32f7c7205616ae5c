import { setTimeout as delay } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import { EchoService } from '@landfall/proto/landfall/mesh/v1/echo_service_pb.js';
import { trace } from '@opentelemetry/api';
import { expect, test } from 'vitest';
import { notFound, resourceExhausted, unavailable } from '../src/errors/errors.ts';
import type { CallContext } from '../src/rpc/call-context.ts';
import { RpcChannel } from '../src/rpc/client.ts';
import { startTelemetry } from '../src/telemetry/telemetry.ts';
import { atEnd, connect, echo, editor, failureOf, randomFrom, serve, signer, stopped } from './echo.ts';

test('both sides of a conversation stream at once', async () => {
  const { address } = await serve();
  const client = connect(address);
  const heard: string[] = [];
  const turns = Array.from({ length: 3 }, () => Promise.withResolvers<void>());
  async function* speak() {
    for (const [i, turn] of turns.entries()) {
      yield { text: `turn ${i}` };
      // The next is said when this one has come back.
      await turn.promise;
    }
  }
  for await (const reply of client.converse(speak())) {
    heard.push(reply.echo!.text);
    turns[Number(reply.echo!.number)]!.resolve();
  }
  expect(heard).toEqual(['turn 0', 'turn 1', 'turn 2']);
});

test('identity, trace, deadline and cancel pass from hop to hop', async () => {
  const telemetry = await startTelemetry('test', -1);
  atEnd(() => telemetry.stop());
  const seen: CallContext[] = [];
  const last = await serve({
    echo: async (request, context) => {
      seen.push(context);
      if (request.text === 'wait') await stopped(context);
      return echo.echo(request, context);
    },
  });
  const onward = connect(last.address, { identity: { ...editor, subject: 'service:first' } });
  const first = await serve({
    echo: async ({ text, number }, context) => {
      seen.push(context);
      return onward.echo({ text, number }, { context });
    },
  });
  const client = connect(first.address);
  await client.echo({ text: 'hello' }, { timeoutMs: 5_000 });
  const [outer, inner] = seen;
  expect(inner!.identity).toEqual(editor);
  // A deadline travels as the time that is left: the way there adds to it, a default of half a minute would far more.
  expect(inner!.deadlineMs).toBeLessThan(outer!.deadlineMs + 10_000);
  const [a, b] = seen.map((context) => trace.getSpanContext(context.trace)!);
  expect(b!.traceId).toBe(a!.traceId);
  expect(b!.spanId).not.toBe(a!.spanId);

  const late = client.echo({ text: 'wait' }, { timeoutMs: 1_000 });
  await expect(late).rejects.toMatchObject({ code: status.DEADLINE_EXCEEDED });
  await expect.poll(() => seen[3]?.signal.aborted, { timeout: 5_000 }).toBe(true);

  const cancel = new AbortController();
  const left = client.echo({ text: 'wait' }, { signal: cancel.signal });
  await expect.poll(() => seen.length).toBe(6);
  expect(seen[5]!.signal.aborted).toBe(false);
  cancel.abort();
  await expect(left).rejects.toMatchObject({ code: status.CANCELLED });
  await expect.poll(() => seen[5]!.signal.aborted).toBe(true);
});

test('errors pass two hops with their details', async () => {
  const last = await serve({
    echo: () => {
      throw resourceExhausted('the queue is full', { retryAfterMs: 250, metadata: { queue: '8' } });
    },
  });
  const onward = connect(last.address);
  const first = await serve({ echo: ({ text }, context) => onward.echo({ text }, { context }) });
  await expect(connect(first.address).echo({})).rejects.toMatchObject({
    code: status.RESOURCE_EXHAUSTED,
    reason: 'RESOURCE_EXHAUSTED',
    message: 'the queue is full',
    retryAfterMs: 250,
    metadata: { queue: '8' },
  });
});

test('only calls that may be repeated are, only on UNAVAILABLE, and at most a fifth of many', async () => {
  let calls = 0;
  const { address } = await serve({
    echo: () => {
      calls++;
      throw unavailable('not now');
    },
    async *echoStream() {
      calls++;
      yield* [];
      throw unavailable('not now');
    },
    collect: async () => {
      calls++;
      throw unavailable('not now');
    },
  });
  const count = async (call: () => Promise<unknown>) => {
    calls = 0;
    await expect(call()).rejects.toMatchObject({ code: status.UNAVAILABLE });
    return calls;
  };
  async function* nothing() {}
  const client = connect(address);
  expect(await count(() => client.echo({}))).toBe(3);
  expect(await count(() => client.echo({}, { attempts: 1 }))).toBe(1);
  expect(await count(() => client.collect(nothing()))).toBe(1);
  expect(await count(() => Array.fromAsync(client.echoStream({ count: 1 })))).toBe(1);

  const many = connect(address);
  const attempts = await count(async () => {
    const failures = await Promise.allSettled(Array.from({ length: 200 }, () => many.echo({})));
    throw (failures[0] as PromiseRejectedResult).reason;
  });
  // Three are the credit that a quiet client has.
  expect(attempts).toBeLessThanOrEqual(200 + 200 * 0.2 + 3);
  expect(attempts).toBeGreaterThan(200);
});

test('a call is repeated until the server answers; one told when to come again waits for its caller', async () => {
  let calls = 0;
  const { address } = await serve({
    echo: () => {
      calls++;
      if (calls < 3) throw unavailable('not yet');
      return {};
    },
    collect: () => {
      throw notFound('nothing here');
    },
  });
  const client = connect(address);
  await expect(client.echo({})).resolves.toBeDefined();
  expect(calls).toBe(3);
  const patient = await serve({
    echo: () => {
      calls++;
      throw unavailable('come again', { retryAfterMs: 1000 });
    },
  });
  await expect(connect(patient.address).echo({})).rejects.toMatchObject({ retryAfterMs: 1000 });
  expect(calls).toBe(4);
});

test('a cancel ends the pause before the next attempt', async () => {
  const { address } = await serve({
    echo: () => {
      throw unavailable('never');
    },
  });
  const client = connect(address);
  const cancel = new AbortController();
  const call = client.echo({}, { signal: cancel.signal });
  cancel.abort();
  await expect(call).rejects.toMatchObject({ code: expect.any(Number) });
});

test('an unreachable server is UNAVAILABLE, and its address stays in the cause', async () => {
  const { address, server } = await serve();
  await server.drain(0);
  const error = await failureOf(connect(address).echo({}));
  expect(error).toMatchObject({ code: status.UNAVAILABLE });
  expect(error.message).not.toMatch(/127\.0\.0\.1|ECONN/);
  expect(String((error.cause as Error).message)).toMatch(/127\.0\.0\.1|ECONN|connection/);
});

test('a deadline that grpc-js itself notices names no address', async () => {
  const { address } = await serve({
    echo: async (_request, context) => {
      await stopped(context);
      return {};
    },
  });
  const error = await failureOf(connect(address).echo({}, { timeoutMs: 50 }));
  expect(error).toMatchObject({ code: status.DEADLINE_EXCEEDED, message: 'the deadline has passed' });
});

test('a source that fails ends its call, and with its own error', async () => {
  const { address } = await serve();
  const client = connect(address);
  async function* breaks() {
    yield { text: 'a' };
    await delay(20);
    throw new Error('the file is gone');
  }
  await expect(client.collect(breaks())).rejects.toThrow('the file is gone');
  await expect(Array.fromAsync(client.converse(breaks()))).rejects.toThrow('the file is gone');
});

test('requests that break off never pass for whole ones', async () => {
  const seed = Date.now() % 1e9;
  console.log(`seed ${seed}`);
  const random = randomFrom(seed);
  const ends: string[] = [];
  let begun = 0;
  const reading = async (requests: AsyncIterable<{ text: string }>) => {
    let how = 'at once';
    begun++;
    try {
      for await (const { text } of requests) how = text.trimEnd();
      ends.push(`${how}: whole`);
    } catch (error) {
      ends.push(`${how}: cut`);
      throw error;
    }
  };
  const { address } = await serve({
    collect: async (requests) => {
      await reading(requests);
      return {};
    },
    async *converse(requests) {
      yield { echo: { text: 'hello' } };
      await reading(requests);
    },
  });
  const client = connect(address);
  for (let i = 0; i < 40; i++) {
    const afterMs = Math.floor(random() * 30);
    async function* texts(how: string) {
      const until = Date.now() + afterMs;
      while (Date.now() < until) {
        yield { text: how.padEnd(500) };
        if (random() < 0.2) await delay(1);
      }
      if (how === 'fails') throw new Error('gone');
      await delay(3_000);
    }
    const leaving = async () => {
      for await (const _ of client.converse(texts('left'))) {
        await delay(afterMs);
        break;
      }
    };
    await Promise.all([
      expect(client.collect(texts('fails'))).rejects.toThrow('gone'),
      expect(
        client.collect(texts('cancelled'), { signal: AbortSignal.timeout(afterMs + 5) }),
      ).rejects.toThrow(),
      expect(client.collect(texts('late'), { timeoutMs: afterMs + 40 })).rejects.toThrow(),
      leaving(),
    ]);
  }
  await expect.poll(() => ends.length, { timeout: 5_000 }).toBe(begun);
  expect(ends.filter((end) => end.endsWith('whole'))).toEqual([]);
  expect(ends.length).toBeGreaterThan(100);
});

test('a source is told to stop when the server has answered early', async () => {
  const { address } = await serve({
    collect: async () => {
      throw notFound('no such upload');
    },
    async *converse() {
      yield* [];
      throw notFound('no such conversation');
    },
  });
  let told = 0;
  // Not a generator: those cannot be told while they wait.
  const silent: AsyncIterable<{ text: string }> = {
    [Symbol.asyncIterator]: () => ({
      next: () => new Promise(() => {}),
      return: async () => {
        told++;
        return { done: true, value: undefined };
      },
    }),
  };
  const channel = new RpcChannel(address, { signer, identity: editor });
  atEnd(() => channel.close());
  const { collect, converse } = EchoService.method;
  const upload = channel.clientStream(collect, silent as AsyncIterable<never>);
  await expect(upload).rejects.toMatchObject({ code: status.NOT_FOUND });
  const talk = Array.fromAsync(channel.bidiStream(converse, silent as AsyncIterable<never>));
  await expect(talk).rejects.toMatchObject({ code: status.NOT_FOUND });
  expect(told).toBe(2);
});

test('a long upload over a narrow window leaves no listeners behind', async () => {
  const warnings: string[] = [];
  const warn = (warning: Error) => warnings.push(warning.message);
  process.on('warning', warn);
  atEnd(() => process.off('warning', warn));
  const { address } = await serve();
  async function* many() {
    for (let i = 0; i < 3000; i++) yield { text: 'x'.repeat(1000) };
  }
  expect(await connect(address).collect(many())).toMatchObject({ count: 3000 });
  await delay(10);
  expect(warnings).toEqual([]);
});

test('memory does not follow a fast writer whose reader is slow', async () => {
  let produced = 0;
  const { address } = await serve({
    async *echoStream() {
      for (; produced < 100_000; produced++) yield { echo: { text: 'x'.repeat(1000), number: 0n } };
    },
  });
  let read = 0;
  for await (const _ of connect(address).echoStream({ count: 1 })) {
    await delay(1);
    if (++read === 50) break;
  }
  expect(produced).toBeLessThan(5_000);
});

test('requests go compressed where the client asks for it', async () => {
  const { address } = await serve();
  const client = connect(address, { compression: 'gzip' });
  expect((await client.echo({ text: 'x'.repeat(1000) })).echo?.text).toHaveLength(1000);
});

test('metadata that the caller adds arrives', async () => {
  let seen: unknown;
  const { address } = await serve({
    echo: (_request, context) => {
      seen = context.metadata.get('x-request-note')[0];
      return {};
    },
  });
  await connect(address).echo({}, { metadata: { 'x-request-note': 'hello' } });
  expect(seen).toBe('hello');
});
