import { connect as connectHttp2 } from 'node:http2';
import { connect, type Socket } from 'node:net';
import type { Writable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { FinishReason } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import { expect, test } from 'vitest';
import { GatewayMesh } from './harness.ts';

const SLOW = 500;
const PATH = '/v1/chat/completions';
const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';

/** A byte a second: no time-out between two bytes would ever fire. */
function trickle(to: Writable): void {
  const timer = setInterval(() => to.writable && to.write('x'), 1000);
  to.once('close', () => clearInterval(timer));
}

/** However it comes about. */
const closed = (one: { once(event: 'close', on: () => void): unknown }): Promise<void> =>
  new Promise((resolve) => void one.once('close', resolve));

/** What one slow client does; each resolves when the gateway has given it up. */
function slowClients(port: number, apiKey: string): ((i: number) => Promise<unknown>)[] {
  const tcp = (text = ''): Socket => {
    const socket = connect(port, '127.0.0.1')
      .on('error', () => {})
      .resume();
    if (text) socket.write(text);
    return socket;
  };
  const head = `POST ${PATH} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${apiKey}\r\n`;
  const slowly = (socket: Socket) => {
    trickle(socket);
    return closed(socket);
  };
  return [
    // Not a word, and half of a word of HTTP/2.
    (i) => closed(tcp(i % 2 ? '' : PREFACE.slice(0, 9))),
    // A head that does not end.
    () => slowly(tcp(`${head}x-slow: `)),
    // A body that does not end, of one that may call and of a stranger.
    (i) =>
      slowly(
        tcp(
          `${i % 2 ? head : head.replace('Bearer ', 'Bearer x')}content-type: application/json\r\ncontent-length: 5000\r\n\r\n`,
        ),
      ),
    // A session of HTTP/2 that asks for nothing.
    () => closed(tcp(PREFACE)),
    // A stream of HTTP/2 whose body does not end.
    async () => {
      const session = connectHttp2(`http://127.0.0.1:${port}`).on('error', () => {});
      const stream = session.request({
        ...{ ':method': 'POST', ':path': PATH, 'content-type': 'application/json' },
        authorization: `Bearer ${apiKey}`,
      });
      stream.on('error', () => {}).resume();
      trickle(stream);
      await closed(stream);
      session.destroy();
    },
  ];
}

test(`${SLOW} slow connections are given up, and no good call fails all the while`, {
  timeout: 600_000,
}, async (t) => {
  const warnings: Error[] = [];
  const warned = (warning: Error) => warnings.push(warning);
  process.on('warning', warned);
  await using mesh = await GatewayMesh.start({
    async *generate() {
      yield { delta: '好' };
      yield { finishReason: FinishReason.STOP, usage: { inputTokens: 1, outputTokens: 1 } };
    },
  });
  if (!mesh) return t.skip();
  const { url, apiKey } = mesh;
  const kinds = slowClients(Number(new URL(url).port), apiKey);
  let waiting = true;
  const allClosed = Promise.all(
    Array.from({ length: SLOW }, (_, i) => kinds[i % kinds.length]!(Math.floor(i / kinds.length))),
  ).finally(() => {
    waiting = false;
  });
  const headers = { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' };
  const body = JSON.stringify({ model: 'qa', messages: [{ role: 'user', content: '问' }] });
  const outcomes = new Map<string, number>();
  while (waiting) {
    const outcome = await fetch(url + PATH, { method: 'POST', headers, body }).then(
      async (response) => `${response.status} ${(await response.text()).includes('好')}`,
      (cause: Error) => `${cause.message}: ${cause.cause}`,
    );
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    await delay(20);
  }
  await allClosed;
  process.off('warning', warned);
  expect([...outcomes.keys()]).toEqual(['200 true']);
  expect(warnings).toEqual([]);
});
