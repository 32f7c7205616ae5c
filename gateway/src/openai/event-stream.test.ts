import { once } from 'node:events';
import { createServer, type IncomingMessage, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setImmediate, setTimeout } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { EventStream } from './event-stream.ts';

/** Serves one answer and reads it from a client. */
async function answered(
  write: (out: EventStream) => Promise<void>,
  read: (answer: IncomingMessage) => Promise<void>,
): Promise<void> {
  const written = Promise.withResolvers<void>();
  const server = createServer((_request, response) => {
    write(new EventStream(response)).then(written.resolve, written.reject);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    const asked = request({ host: '127.0.0.1', port: (server.address() as AddressInfo).port });
    asked.end();
    const [answer] = (await once(asked, 'response')) as [IncomingMessage];
    await read(answer);
    await written.promise;
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

async function textOf(answer: IncomingMessage): Promise<string> {
  let text = '';
  for await (const part of answer.setEncoding('utf8')) text += part;
  return text;
}

it('sends every event in order, in bursts and alone', async () => {
  await answered(
    async (out) => {
      for (let i = 0; i < 3000; i++) {
        await out.send({ i });
        if (i % 100 === 0) await setImmediate();
      }
      await out.send('[DONE]');
      out.end();
    },
    async (answer) => {
      const events = (await textOf(answer)).trimEnd().split('\n\n');
      expect(events.pop()).toBe('data: [DONE]');
      expect(events.map((event) => JSON.parse(event.slice(6)).i)).toEqual(
        Array.from({ length: 3000 }, (_, i) => i),
      );
    },
  );
});

it('shows an event that no other follows', async () => {
  const shown = Promise.withResolvers<void>();
  await answered(
    async (out) => {
      await out.send({ first: true });
      await shown.promise;
      out.end();
    },
    async (answer) => {
      const [part] = (await once(answer, 'data')) as [Buffer];
      expect(part.toString()).toBe('data: {"first":true}\n\n');
      shown.resolve();
      await once(answer.resume(), 'end');
    },
  );
});

it('waits for a client that reads slowly, and ends for one that leaves', async () => {
  const body = { text: 'x'.repeat(64 * 1024) };
  let sent = 0;
  await answered(
    async (out) => {
      for (; sent < 400; sent++) await out.send(body);
      out.end();
    },
    async (answer) => {
      await setTimeout(200);
      // What a socket takes on both sides is a few megabytes; all of it would be 25.
      expect(sent).toBeLessThan(300);
      answer.destroy();
    },
  );
  expect(sent).toBe(400);
});
