/** A replica over a server of OpenAI's API that fails, hangs, is cut off, sends garbage or without end. */

import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { status } from '@grpc/grpc-js';
import { describe, expect, test } from 'vitest';
import { OpenAiBench, textOf } from './openai-bench.ts';
import {
  type Answer,
  type Asked,
  chunk,
  event,
  OpenAiTestServer,
  openStream,
  refuses,
  says,
  sends,
} from './openai-server.ts';

const bench = new OpenAiBench();

describe('faults', () => {
  test.each([
    [
      'full, with a time to come again',
      refuses(429, {}, { 'retry-after-ms': '3500' }),
      status.RESOURCE_EXHAUSTED,
      1,
    ],
    ['full for good', refuses(429, {}, { 'retry-after-ms': '1' }), status.RESOURCE_EXHAUSTED, 3],
    ['failing', refuses(500), status.UNAVAILABLE, 3],
    ['overloaded', refuses(503), status.UNAVAILABLE, 3],
    ['refusing the key', refuses(401), status.FAILED_PRECONDITION, 1],
    ['without the model', refuses(404), status.NOT_FOUND, 1],
    ['refusing a parameter', refuses(400, { param: 'temperature' }), status.INVALID_ARGUMENT, 1],
    ['out of context', refuses(400, { code: 'context_length_exceeded' }), status.INVALID_ARGUMENT, 1],
    ['refusing what it read', refuses(422), status.INVALID_ARGUMENT, 1],
  ])('a server that is %s', async (_what, answer, code, attempts) => {
    bench.server.answers = [answer];
    const error = await bench.failure();
    expect(error).toMatchObject({ code });
    expect(bench.server.asked).toHaveLength(attempts);
    if (code === status.RESOURCE_EXHAUSTED) expect(error.retryAfterMs).toBeGreaterThan(0);
    expect(`${error.message} ${JSON.stringify(error.metadata)}`).not.toMatch(/srv|secret|127\.0|sk-/);
  });

  test('asks again before the first token, never behind it', async () => {
    const cut =
      (text: string): Answer =>
      (response, asked) => {
        openStream(response);
        response.write(chunk(asked, ''));
        if (text) response.write(chunk(asked, text));
        setImmediate(() => response.destroy());
      };
    bench.server.answers = [refuses(502), cut(''), says(['好'])];
    expect(textOf(await bench.ask())).toBe('好');
    expect(bench.server.asked).toHaveLength(3);
    bench.server.answers = [cut('半')];
    expect(await bench.failure()).toMatchObject({ code: status.UNAVAILABLE, reason: 'BACKEND_LOST' });
    expect(bench.server.asked).toHaveLength(4);
  });

  test('retries stay within their budget', async () => {
    bench.server.answers = [refuses(500)];
    for (let i = 0; i < 10; i++) await bench.failure();
    // Ten requests, the three that a quiet client has, and a fifth of ten.
    expect(bench.server.asked.length).toBeLessThanOrEqual(10 + 3 + 2);
  });

  test.each<[string, Answer]>([
    ['no stream', (response) => void response.writeHead(200, { 'content-type': 'text/html' }).end('<html>')],
    ['no JSON', sends(event('{'))],
    ['a list', sends(event('[]'))],
    ['no choices', sends(event({}))],
    ['a choice that nobody asked for', sends((asked) => chunk(asked, 'x', null, { index: 7 }))],
    ['a number for text', sends(event({ choices: [{ index: 0, delta: { content: 5 } }] }))],
    ['no end', sends((asked) => chunk(asked, 'x') + event('[DONE]'))],
    ['other bytes than UTF-8', sends(Buffer.from([0x64, 0xff, 0x0a]))],
  ])('a server that sends %s', async (_what, answer) => {
    bench.server.answers = [answer];
    expect(await bench.failure()).toMatchObject({ code: status.UNAVAILABLE, reason: 'BACKEND_PROTOCOL' });
    expect(bench.server.asked).toHaveLength(1);
    bench.server.answers = [says(['好'])];
    expect(textOf(await bench.ask())).toBe('好');
  });

  test('answers and events without end are cut off', async () => {
    const endless =
      (piece: (asked: Asked) => string): Answer =>
      async (response, asked) => {
        openStream(response);
        function* pieces() {
          for (;;) yield piece(asked);
        }
        await pipeline(Readable.from(pieces()), response).catch(() => {});
      };
    for (const piece of [
      (asked: Asked) => chunk(asked, 'x'.repeat(1000)),
      () => `data: ${'x'.repeat(10_000)}`,
    ]) {
      bench.server.answers = [endless(piece)];
      expect(await bench.failure()).toMatchObject({ code: status.UNAVAILABLE, reason: 'BACKEND_PROTOCOL' });
    }
    await expect.poll(() => bench.server.left).toBe(2);
  });

  test('a redirect is not followed', async () => {
    await using elsewhere = await OpenAiTestServer.start();
    bench.server.answers = [refuses(307, {}, { location: `${elsewhere.url}/chat/completions` })];
    expect(await bench.failure()).toMatchObject({
      code: status.FAILED_PRECONDITION,
      reason: 'BACKEND_REDIRECTS',
    });
    expect(elsewhere.asked).toHaveLength(0);
  });

  test('silence ends a wait, before the first byte and between two tokens; slow is not silent', async () => {
    await using impatient = await bench.start({ silenceMs: 300 });
    const prompt = () => Array.fromAsync(impatient.client.generate({ prompt: 'x' }));
    const halves: Answer = (response, asked) => {
      openStream(response);
      response.write(chunk(asked, 'x'));
    };
    for (const answer of [() => {}, halves]) {
      bench.server.answers = [answer];
      await expect(prompt()).rejects.toMatchObject({ code: status.UNAVAILABLE, reason: 'BACKEND_SILENT' });
    }
    bench.server.answers = [
      async (response, asked) => {
        openStream(response);
        for (const part of 'slowly') {
          response.write(chunk(asked, part));
          await new Promise((go) => setTimeout(go, 100));
        }
        response.end(chunk(asked, '', 'stop') + event('[DONE]'));
      },
    ];
    expect(textOf(await prompt())).toBe('slowly');
  });

  test('an answer may take so long in all', async () => {
    await using impatient = await bench.start({ answerMs: 500 });
    bench.server.answers = [
      async (response, asked) => {
        openStream(response);
        while (!response.destroyed) {
          response.write(chunk(asked, 'x'));
          await new Promise((go) => setTimeout(go, 50));
        }
      },
    ];
    const answer = Array.fromAsync(impatient.client.generate({ prompt: 'x' }));
    await expect(answer).rejects.toMatchObject({ reason: 'BACKEND_SILENT' });
  });

  test('a caller that leaves closes the connection, in the answer and in the wait for it', async () => {
    bench.server.answers = [
      (response, asked) => {
        openStream(response);
        response.write(chunk(asked, 'x'));
      },
      () => {},
    ];
    for await (const _ of bench.replica.client.generate({ prompt: 'x' })) break;
    await expect.poll(() => bench.server.left).toBe(1);
    const controller = new AbortController();
    const waiting = Array.fromAsync(
      bench.replica.client.generate({ prompt: 'x' }, { signal: controller.signal }),
    );
    const ended = expect(waiting).rejects.toMatchObject({ code: status.CANCELLED });
    await expect.poll(() => bench.server.asked.length).toBe(2);
    controller.abort();
    await ended;
    await expect.poll(() => bench.server.left).toBe(2);
    expect((await bench.replica.client.getLoad({})).load!.running).toBe(0);
  });

  test('an answer that is withheld is told of', async () => {
    bench.server.answers = [says(['x'], 'content_filter')];
    expect(await bench.failure()).toMatchObject({
      code: status.FAILED_PRECONDITION,
      reason: 'CONTENT_FILTERED',
    });
  });
});
