/** Peers that are slow on purpose, against the door's server: who gives up, when, and what is said. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type ClientHttp2Session, connect as connectHttp2 } from 'node:http2';
import { connect, type Socket } from 'node:net';
import type { Writable } from 'node:stream';
import { Code, ConnectError } from '@connectrpc/connect';
import { afterEach, expect, test } from 'vitest';
import { type EdgeHandler, type EdgeLimits, OnePortServer } from './one-port.ts';

const LIMITS: EdgeLimits = {
  ...{ headersTimeoutMs: 30_000, requestTimeoutMs: 60_000, idleTimeoutMs: 60_000, unreadTimeoutMs: 60_000 },
  ...{ bodyWindowMs: 800, streamWindowMs: 60_000, minBytesPerSecond: 240, unreadBytesPerSecond: 65_536 },
  ...{ maxConnections: 20, maxConnectionsPerPeer: 10, maxStreams: 10, maxHeaderBytes: 16 * 1024 },
};
const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
});

async function listening(handler: EdgeHandler, limits: Partial<EdgeLimits> = {}): Promise<number> {
  const all = { ...LIMITS, ...limits };
  const server = new OnePortServer(handler, all, undefined, (path) => path === '/stream');
  ends.push(() => server.close(0));
  return (await server.listen('127.0.0.1', 0)).port;
}

/** Reads a body and answers with its length, or why it did not come. */
const lengthOf: EdgeHandler = async (request, response) => {
  const out = response as ServerResponse;
  try {
    let length = 0;
    for await (const part of request as IncomingMessage) length += (part as Buffer).length;
    out.end(`read ${length}`);
  } catch (cause) {
    const { code, rawMessage } = ConnectError.from(cause);
    out.writeHead(504).end(`${Code[code]}: ${rawMessage}`);
  }
};

function tcp(port: number, text = ''): Socket {
  const socket = connect(port, '127.0.0.1').on('error', () => {});
  ends.push(() => socket.destroy());
  if (text) socket.write(text);
  return socket;
}

async function textOf(socket: Socket): Promise<string> {
  let text = '';
  socket.setEncoding('utf8').on('data', (part) => {
    text += part;
  });
  await new Promise((resolve) => void socket.once('close', resolve));
  return text;
}

function http2(port: number): ClientHttp2Session {
  const session = connectHttp2(`http://127.0.0.1:${port}`);
  session.on('error', () => {});
  ends.push(() => session.destroy());
  return session;
}

/** A byte each tenth of a second until nobody takes it. */
function trickle(to: Writable): void {
  const timer = setInterval(() => to.writable && to.write('x'), 100);
  to.once('close', () => clearInterval(timer));
}

test('a body that trickles in is given up by its rate in either protocol, and its caller is told why', async () => {
  const port = await listening(lengthOf);
  const socket = tcp(port, 'POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n');
  const answer = textOf(socket);
  trickle(socket);
  const stream = http2(port).request({ ':method': 'POST', ':path': '/' });
  trickle(stream);
  const parts = stream.setEncoding('utf8').toArray();
  const [response] = (await once(stream, 'response')) as [{ ':status': number }];
  const told = (await parts).join('');
  expect(response[':status']).toBe(504);
  expect(told).toBe("DeadlineExceeded: the request's body came at less than 240 bytes a second for 0.8 s");
  expect(await answer).toMatch(/^HTTP\/1.1 504 [\s\S]*connection: close[\s\S]*DeadlineExceeded/i);
});

test('what is left of a request that was refused is not waited for either', async () => {
  const port = await listening((_request, response) => {
    (response as ServerResponse).writeHead(401).end('refused');
  });
  const socket = tcp(port, 'POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n');
  trickle(socket);
  const stream = http2(port)
    .request({ ':method': 'POST', ':path': '/' })
    .on('error', () => {});
  stream.resume();
  trickle(stream);
  const gone = new Promise((resolve) => void stream.once('close', resolve));
  expect(await textOf(socket)).toMatch(/^HTTP\/1.1 401 /);
  await gone;
});

test('a large body that is quick enough is read for longer than the window, and so is a stream with pauses', async () => {
  const port = await listening(lengthOf, { bodyWindowMs: 400 });
  const size = 12 * 100;
  const socket = tcp(
    port,
    `POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: ${size}\r\n\r\n`,
  );
  const answer = textOf(socket);
  const stream = http2(port).request({ ':method': 'POST', ':path': '/stream' });
  stream.write('first');
  for (let i = 0; i < 12; i++) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    socket.write(randomBytes(50).toString('hex'));
  }
  stream.end('last');
  expect(await answer).toContain(`read ${size}`);
  expect((await stream.setEncoding('utf8').toArray()).join('')).toBe('read 9');
});

test('a service that takes its time to read is not its caller\u2019s fault', async () => {
  const port = await listening(
    async (request, response) => {
      await new Promise((resolve) => setTimeout(resolve, 2000));
      await lengthOf(request, response);
    },
    { bodyWindowMs: 400 },
  );
  const body = 'x'.repeat(100_000);
  const answered = fetch(`http://127.0.0.1:${port}/`, { method: 'POST', body });
  const stream = http2(port).request({ ':method': 'POST', ':path': '/' });
  stream.end(body);
  expect((await stream.setEncoding('utf8').toArray()).join('')).toBe('read 100000');
  expect(await (await answered).text()).toBe('read 100000');
});

test('an answer that nobody reads is cut off in either protocol', async () => {
  const over: Promise<unknown>[] = [];
  const port = await listening(
    (_request, response) => {
      over.push(once(response as ServerResponse, 'close'));
      // More than the system keeps for a connection.
      (response as ServerResponse).write(Buffer.alloc(64 * 1024 * 1024));
    },
    { unreadTimeoutMs: 300, unreadBytesPerSecond: 1e9 },
  );
  tcp(port, 'GET / HTTP/1.1\r\nhost: x\r\n\r\n').pause();
  http2(port).request({ ':path': '/' }).pause();
  await expect.poll(() => over.length, { timeout: 30_000 }).toBe(2);
  await Promise.all(over);
});

test('what is no request is answered as such, with the limit that it breaks', async () => {
  const port = await listening((_request, response) => (response as ServerResponse).end('answered'), {
    headersTimeoutMs: 500,
  });
  const cases: [string, RegExp][] = [
    ['NONSENSE\r\n\r\n', /^HTTP\/1.1 400 [\s\S]*invalid_argument/],
    [
      `GET / HTTP/1.1\r\nhost: x\r\nx-large: ${'y'.repeat(20_000)}\r\n\r\n`,
      /^HTTP\/1.1 431 [\s\S]*16384 bytes/,
    ],
    ['GET / HTTP/1.1\r\nhost: x\r\nx-slow: ', /^HTTP\/1.1 408 [\s\S]*within 0.5 s/],
    ['GET / HTTP/1.1\r\nhost: x\r\nexpect: miracles\r\n\r\n', /^HTTP\/1.1 417 /],
  ];
  for (const [bytes, answer] of cases) {
    const told = await textOf(tcp(port, bytes));
    expect(told).toMatch(answer);
    expect(told).toMatch(/x-request-id: [0-9a-f-]{36}/);
  }
});

test('one address gets as many connections as it may, and is told so in its protocol', async () => {
  const port = await listening((_request, response) => (response as ServerResponse).end('answered'));
  const silent = Array.from({ length: 10 }, () => tcp(port));
  await Promise.all(silent.map((socket) => once(socket, 'connect')));
  const told = await textOf(tcp(port, 'GET / HTTP/1.1\r\nhost: x\r\n\r\n'));
  expect(told).toMatch(/^HTTP\/1.1 429 [\s\S]*retry-after: 1[\s\S]*has 10 connections open/);
  const session = http2(port);
  const [code, , reason] = (await once(session, 'goaway')) as [number, number, Buffer];
  expect([code, String(reason)]).toEqual([11, expect.stringContaining('has 10 connections open')]);
  silent[0]!.destroy();
  await expect
    .poll(() => fetch(`http://127.0.0.1:${port}/`).then(({ status }) => status), { timeout: 30_000 })
    .toBe(200);
});

test('a session has so many streams at once, and is closed gracefully when it lies idle', async () => {
  const go = Promise.withResolvers<void>();
  let running = 0;
  const port = await listening(
    async (_request, response) => {
      running += 1;
      await go.promise;
      (response as ServerResponse).end('answered');
    },
    { maxStreams: 3, idleTimeoutMs: 50 },
  );
  const session = http2(port);
  await once(session, 'remoteSettings');
  expect(session.remoteSettings.maxConcurrentStreams).toBe(3);
  const streams = Array.from({ length: 6 }, () => session.request({ ':path': '/' }).setEncoding('utf8'));
  const texts = streams.map((stream) => stream.toArray());
  await expect.poll(() => running, { timeout: 30_000 }).toBe(3);
  go.resolve();
  expect((await Promise.all(texts)).map((parts) => parts.join(''))).toEqual(Array(6).fill('answered'));
  expect(running).toBe(6);
  await expect.poll(() => session.closed, { timeout: 30_000 }).toBe(true);
});
