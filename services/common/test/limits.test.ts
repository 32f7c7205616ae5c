import { once } from 'node:events';
import http2 from 'node:http2';
import { connect as connectTcp } from 'node:net';
import { gzipSync } from 'node:zlib';
import { status } from '@grpc/grpc-js';
import { expect, test } from 'vitest';
import { LandfallError, notFound } from '../src/errors/errors.ts';
import { IDENTITY_KEY } from '../src/identity/signer.ts';
import { atEnd, connect, editor, failureOf, serve, signer } from './echo.ts';

/** The status of a raw call whose body is written by hand, and may never end. */
async function rawCall(address: string, method: string, body: Buffer[], end: boolean, encoding = 'identity') {
  const session = http2.connect(`http://${address}`);
  session.on('error', () => {});
  atEnd(() => session.destroy());
  const call = session.request({
    ':method': 'POST',
    ':path': `/landfall.mesh.v1.EchoService/${method}`,
    'content-type': 'application/grpc',
    'grpc-encoding': encoding,
    te: 'trailers',
    [IDENTITY_KEY]: await signer.mint(editor),
  });
  call.on('error', () => {});
  const told = new Promise<number>((resolve) => {
    const look = (headers: http2.IncomingHttpHeaders) => {
      if (headers['grpc-status'] !== undefined) resolve(Number(headers['grpc-status']));
    };
    call.on('response', look);
    call.on('trailers', look);
  });
  for (const part of body) call.write(part);
  if (end) call.end();
  call.resume();
  return told;
}

function frame(bytes: Buffer, compressed = false): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(compressed ? 1 : 0);
  head.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([head, bytes]);
}

test('a little gzip that becomes much is RESOURCE_EXHAUSTED, and takes little memory', async () => {
  const { address } = await serve();
  const bomb = gzipSync(Buffer.alloc(256 * 1024 * 1024));
  expect(bomb.length).toBeLessThan(1024 * 1024);
  const before = process.memoryUsage().rss;
  for (let i = 0; i < 4; i++) {
    expect(await rawCall(address, 'Echo', [frame(bomb, true)], true, 'gzip')).toBe(status.RESOURCE_EXHAUSTED);
  }
  expect((process.memoryUsage().rss - before) / 2 ** 20).toBeLessThan(64);
});

test('a request that is announced and never sent ends in time, and so does one that trickles', async () => {
  const { address } = await serve({}, { arrivalMs: 200 });
  const head = Buffer.from([0, 0, 0, 0, 100]);
  for (const method of ['Echo', 'EchoStream', 'Collect', 'Converse']) {
    expect(await rawCall(address, method, [], false), method).toBe(status.DEADLINE_EXCEEDED);
    expect(await rawCall(address, method, [head, Buffer.alloc(10)], false), method).toBe(
      status.DEADLINE_EXCEEDED,
    );
  }
});

test('beside 500 connections that do nothing, calls are answered', async () => {
  const { address } = await serve({}, { arrivalMs: 300 });
  const [host, port] = address.split(':');
  const sockets = await Promise.all(
    Array.from({ length: 500 }, async () => {
      const socket = connectTcp(Number(port), host);
      socket.on('error', () => {});
      await once(socket, 'connect');
      return socket;
    }),
  );
  atEnd(() => {
    for (const socket of sockets) socket.destroy();
  });
  expect((await connect(address).echo({ text: 'still here' })).echo?.text).toBe('still here');
});

test('a connection that does not answer pings is closed', async () => {
  const { address } = await serve({}, { keepaliveMs: 100 });
  const [host, port] = address.split(':');
  const socket = connectTcp(Number(port), host);
  socket.on('error', () => {});
  await once(socket, 'connect');
  // It never says that it speaks HTTP/2.
  socket.resume();
  await once(socket, 'close');
}, 20_000);

test('a message over the limit is refused before it is read', async () => {
  const { address } = await serve({}, { maxReceiveBytes: 1000 });
  const head = Buffer.alloc(5);
  head.writeUInt32BE(2 ** 31, 1);
  expect(await rawCall(address, 'Echo', [head], false)).toBe(status.RESOURCE_EXHAUSTED);
});

test('a handler that is deaf to its signal does not hold its caller', async () => {
  const never = new Promise<never>(() => {});
  const { address } = await serve(
    {
      echo: () => never,
      async *echoStream() {
        yield {};
        await never;
      },
    },
    { defaultDeadlineMs: 150, methodDeadlinesMs: { EchoStream: 150 } },
  );
  // Called without a deadline of their own.
  expect(await rawCall(address, 'Echo', [frame(Buffer.alloc(0))], true)).toBe(status.DEADLINE_EXCEEDED);
  expect(await rawCall(address, 'EchoStream', [frame(Buffer.alloc(0))], true)).toBe(status.DEADLINE_EXCEEDED);
});

test('an iterator that waits for something else than the signal is told to return', async () => {
  let returned = false;
  const begun = Promise.withResolvers<void>();
  const { address } = await serve({
    echoStream: () => ({
      [Symbol.asyncIterator]: () => ({
        next: () => {
          begun.resolve();
          return new Promise(() => {});
        },
        return: async () => {
          returned = true;
          return { done: true, value: undefined };
        },
      }),
    }),
  });
  const cancel = new AbortController();
  const reading = Array.fromAsync(connect(address).echoStream({ count: 1 }, { signal: cancel.signal }));
  await begun.promise;
  cancel.abort();
  await expect(reading).rejects.toMatchObject({ code: status.CANCELLED });
  await expect.poll(() => returned).toBe(true);
});

test('a handler that returns nothing, or what cannot be written, is an internal error', async () => {
  const { address } = await serve({
    echo: (({ text }: { text: string }) => (text ? { echo: { number: 'many' } } : undefined)) as never,
  });
  const client = connect(address);
  expect(await failureOf(client.echo({}))).toMatchObject({ code: status.INTERNAL });
  expect(await failureOf(client.echo({ text: 'x' }))).toMatchObject({ code: status.INTERNAL });
  expect((await failureOf(client.echo({}))).metadata).toHaveProperty('error_id');
});

test('an error of any length and any characters leaves, and the connection goes on', async () => {
  const { address } = await serve({
    echo: ({ text }) => {
      if (text === 'long') throw notFound('很'.repeat(100_000));
      if (text === 'half') throw notFound('half a pair \ud83d and\r\ngrpc-status: 0');
      if (text === 'many') {
        const fieldViolations = Array.from({ length: 20 }, (_, i) => ({
          field: `f[${i}]`,
          description: 'no',
        }));
        throw new LandfallError(status.INVALID_ARGUMENT, 'many', { fieldViolations });
      }
      return { echo: { text } };
    },
  });
  const client = connect(address);
  for (const [text, code] of [
    ['long', status.NOT_FOUND],
    ['half', status.NOT_FOUND],
    ['many', status.INVALID_ARGUMENT],
  ] as const) {
    expect(await failureOf(client.echo({ text })), text).toMatchObject({ code });
  }
  expect((await client.echo({ text: 'fine' })).echo?.text).toBe('fine');
});
