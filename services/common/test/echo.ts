import { randomBytes } from 'node:crypto';
import { EchoService } from '@landfall/proto/landfall/mesh/v1/echo_service_pb.js';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { afterEach } from 'vitest';
import { IdentitySigner } from '../src/identity/signer.ts';
import { createLogger } from '../src/log/logger.ts';
import type { CallContext } from '../src/rpc/call-context.ts';
import { RpcChannel, type RpcClientOptions } from '../src/rpc/client.ts';
import type { Implementation } from '../src/rpc/implementation.ts';
import { RpcServer, type RpcServerOptions } from '../src/rpc/server.ts';

export const key = randomBytes(48);
export const signer = new IdentitySigner(key);
export const editor = { subject: 'key:1', tenant: 'acme', role: Role.EDITOR };
export const logger = createLogger('echo', 'silent');

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** Has something undone after the test, last first. */
export function atEnd(cleanup: () => unknown): void {
  cleanups.push(cleanup);
}

type Echo = Implementation<typeof EchoService>;

/** What an echo service does, for tests to change a part of. */
export const echo: Required<Echo> = {
  echo: async ({ text, number }) => ({ echo: { text, number } }),
  async *echoStream({ text, count }) {
    for (let i = 0; i < count; i++) yield { echo: { text, number: BigInt(i) } };
  },
  async collect(requests) {
    const texts: string[] = [];
    for await (const request of requests) texts.push(request.text);
    return { text: texts.join(''), count: texts.length };
  },
  async *converse(requests) {
    let i = 0n;
    for await (const { text } of requests) yield { echo: { text, number: i++ } };
  },
};

export interface EchoServer {
  server: RpcServer;
  address: string;
}

/** A server on a free port, drained after the test. */
export async function serve(
  implementation: Echo = {},
  options: Partial<RpcServerOptions> = {},
): Promise<EchoServer> {
  const server = new RpcServer({ signer, logger, ...options });
  server.add(EchoService, { ...echo, ...implementation });
  const port = await server.listen('127.0.0.1', 0);
  server.health.set('readiness', true);
  atEnd(() => server.drain(0));
  return { server, address: `127.0.0.1:${port}` };
}

/** A client of it, closed after the test. */
export function connect(address: string, options: Partial<RpcClientOptions> = {}) {
  const channel = new RpcChannel(address, { signer, identity: editor, ...options });
  atEnd(() => channel.close());
  return channel.client(EchoService);
}

/** Resolves when the call is told to stop. */
export function stopped({ signal }: CallContext): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

/** What a promise failed with. */
export async function failureOf(promise: Promise<unknown>): Promise<Error & Record<string, unknown>> {
  try {
    await promise;
  } catch (error) {
    return error as Error & Record<string, unknown>;
  }
  throw new Error('it did not fail');
}

/** Numbers from 0 to 1 that a seed repeats (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
