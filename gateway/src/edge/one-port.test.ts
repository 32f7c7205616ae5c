import { once } from 'node:events';
import { type ClientHttp2Session, type ClientHttp2Stream, connect } from 'node:http2';
import { connect as connectTcp } from 'node:net';
import { expect, test } from 'vitest';
import { type EdgeHandler, type EdgeLimits, OnePortServer } from './one-port.ts';

const LIMITS = {
  ...{ headersTimeoutMs: 5000, requestTimeoutMs: 60_000, idleTimeoutMs: 60_000, unreadTimeoutMs: 60_000 },
  ...{ bodyWindowMs: 60_000, streamWindowMs: 60_000, minBytesPerSecond: 240, unreadBytesPerSecond: 65_536 },
  ...{ maxConnections: 100, maxConnectionsPerPeer: 90, maxStreams: 10, maxHeaderBytes: 16 * 1024 },
};
/** More than the listeners that an emitter takes before it warns of a leak. */
const SESSIONS = 25;

async function listening(
  handler: EdgeHandler,
  limits: Partial<EdgeLimits> = {},
): Promise<{ server: OnePortServer; origin: string; port: number }> {
  const server = new OnePortServer(
    handler,
    { ...LIMITS, ...limits },
    undefined,
    (path) => path === '/stream',
  );
  const { port } = await server.listen('127.0.0.1', 0);
  return { server, origin: `http://127.0.0.1:${port}`, port };
}

async function textOf(stream: ClientHttp2Stream): Promise<string> {
  return (await stream.setEncoding('utf8').toArray()).join('');
}

test('many HTTP/2 sessions beside HTTP/1.1 raise no warning, and an idle one is closed with the server', async () => {
  const warnings: Error[] = [];
  const warned = (warning: Error) => warnings.push(warning);
  process.on('warning', warned);
  const { server, origin } = await listening((request, response) => response.end(request.httpVersion));
  const sessions: ClientHttp2Session[] = [];
  for (let i = 0; i < SESSIONS; i++) {
    sessions.push(connect(origin));
    expect(await textOf(sessions[i]!.request())).toBe('2.0');
    expect(await (await fetch(origin)).text()).toBe('1.1');
  }
  const closed = sessions.map((session) => once(session, 'close'));
  await server.close(60_000);
  await Promise.all(closed);
  process.off('warning', warned);
  expect(warnings).toEqual([]);
});

test('a connection that never comes to ask is given up in either protocol, while others are answered', async () => {
  const server = new OnePortServer((_request, response) => response.end('answered'), {
    ...LIMITS,
    headersTimeoutMs: 200,
  });
  const { port } = await server.listen('127.0.0.1', 0);
  const used = connect(`http://127.0.0.1:${port}`);
  expect(await textOf(used.request())).toBe('answered');
  const beginnings = ['', 'GET / HTTP/1.1\r\nHost: x\r\n', 'PRI * HTT', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'];
  const slow = Array.from({ length: 48 }, (_, i) => {
    const socket = connectTcp(port, '127.0.0.1');
    socket.write(beginnings[i % beginnings.length]!);
    return socket;
  });
  const ends = slow.map((socket) => once(socket.resume(), 'close'));
  expect(await (await fetch(`http://127.0.0.1:${port}`)).text()).toBe('answered');
  await Promise.all(ends);
  // One that has asked before may be idle.
  expect(await textOf(used.request())).toBe('answered');
  await server.close(0);
});

test('a server that closes lets running streams of a session end and takes no more', async () => {
  const arrived = Promise.withResolvers<void>();
  const go = Promise.withResolvers<void>();
  const { server, origin } = await listening(async (_request, response) => {
    arrived.resolve();
    await go.promise;
    response.end('to the end');
  });
  const session = connect(origin);
  const text = textOf(session.request());
  await arrived.promise;
  const told = once(session, 'goaway');
  const closed = server.close(60_000);
  await told;
  await expect(fetch(origin)).rejects.toThrow();
  go.resolve();
  expect(await text).toBe('to the end');
  await closed;
});

test('what has not ended within the grace period is cut off', async () => {
  const arrived = Promise.withResolvers<void>();
  const { server, origin } = await listening(() => arrived.resolve());
  const session = connect(origin);
  const lost = once(session, 'close');
  session.request().on('error', () => {});
  await arrived.promise;
  await server.close(1);
  await lost;
});
