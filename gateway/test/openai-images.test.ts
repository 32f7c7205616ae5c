/** Images in chats of the OpenAI-compatible API: what reaches a replica, and where the gateway does not go for them. */

import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { FinishReason } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import type { GenerateRequest } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { GatewayMesh } from './harness.ts';

/** The smallest PNG there is: one pixel. */
const PNG = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII=',
  'base64',
);
const DATA_URL = `data:image/png;base64,${PNG.toString('base64')}`;

let mesh: GatewayMesh | undefined;
let asked: GenerateRequest | undefined;
/** A server that the operator lets through, and one that stands for everything else behind the gateway. */
let open: Server;
let hidden: Server;
let reached: string[] = [];

const portOf = (server: Server) => (server.address() as AddressInfo).port;

async function* generate(request: GenerateRequest) {
  asked = request;
  yield { delta: 'seen' };
  yield { finishReason: FinishReason.STOP, usage: { inputTokens: 9, outputTokens: 1 } };
}

beforeAll(async () => {
  hidden = createServer((request, response) => {
    reached.push(request.url!);
    response.end(PNG);
  });
  open = createServer((request, response) => {
    const path = request.url!;
    reached.push(path);
    if (path === '/to-hidden')
      response.writeHead(302, { location: `http://127.0.0.1:${portOf(hidden)}/a.png` });
    else if (path === '/to-image') response.writeHead(302, { location: '/image.png' });
    else if (path === '/round') response.writeHead(302, { location: '/round' });
    else if (path === '/file') response.writeHead(302, { location: 'file:///etc/passwd' });
    else if (path === '/none') response.writeHead(404);
    else if (path === '/text') response.write('<svg xmlns="http://www.w3.org/2000/svg"/>');
    else if (path === '/large') response.write(Buffer.alloc(17 * 1024 * 1024));
    else response.write(PNG);
    response.end();
  });
  for (const server of [hidden, open])
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  mesh = await GatewayMesh.start({ generate, env: { LANDFALL_IMAGE_HOSTS: `127.0.0.1:${portOf(open)}` } });
});
afterAll(async () => {
  await mesh?.[Symbol.asyncDispose]();
  for (const server of [hidden, open]) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});
beforeEach(() => {
  reached = [];
  asked = undefined;
});

type Part = { type: 'text'; text: string } | { type: 'image_url'; image_url: { url: string } };
const text = (value: string): Part => ({ type: 'text', text: value });
const image = (url: string): Part => ({ type: 'image_url', image_url: { url } });

function chat(messages: { role: string; content: string | Part[] }[]) {
  return fetch(`${mesh!.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${mesh!.apiKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'qa', messages }),
  });
}

const own = (path: string) => `http://127.0.0.1:${portOf(open)}${path}`;

describe('images reach the replica', () => {
  test.each<[string, Part[], string, number]>([
    ['before the text', [image(DATA_URL), text('what?')], 'what?', 1],
    ['behind it', [text('what?'), image(DATA_URL)], 'what?', 1],
    ['alone', [image(DATA_URL)], '', 1],
    [
      'between texts, all of them',
      [image(DATA_URL), text('a '), image(DATA_URL), text(' b')],
      '<image>a <image> b',
      2,
    ],
  ])('%s', async (_, content, expected, count) => {
    if (!mesh) return;
    const response = await chat([{ role: 'user', content }]);
    expect([response.status, await response.json()]).toMatchObject([200, { choices: [{}] }]);
    expect(asked!.messages[0]).toMatchObject({ role: 'user', content: expected });
    expect(asked!.messages[0]!.images).toHaveLength(count);
    for (const bytes of asked!.messages[0]!.images) expect(Buffer.from(bytes)).toEqual(PNG);
  });

  test('in several turns, from a server that the operator lets through, sent on within it', async () => {
    if (!mesh) return;
    const response = await chat([
      { role: 'user', content: [image(own('/image.png')), text('first')] },
      { role: 'assistant', content: 'seen' },
      { role: 'user', content: [text('and'), image(own('/to-image'))] },
    ]);
    expect([response.status, await response.text()]).toMatchObject([200, expect.any(String)]);
    expect(asked!.messages.map(({ images }) => images.length)).toEqual([1, 0, 1]);
    expect(reached).toEqual(['/image.png', '/to-image', '/image.png']);
  });
});

describe('what is not read is refused by its name, and nobody is connected to', () => {
  const at = (host: string) => `https://${host}:${portOf(hidden)}/a.png`;
  const hostile: [string, () => string][] = [
    ['a private address', () => at('127.0.0.1')],
    ['without TLS', () => `http://127.0.0.1:${portOf(hidden)}/a.png`],
    ['a name of this machine', () => at('localhost')],
    ['an address in another notation', () => at('0x7f000001')],
    ['an address of fewer parts', () => at('127.1')],
    ['mapped IPv6', () => at('[::ffff:127.0.0.1]')],
    ['loopback of IPv6', () => at('[::1]')],
    ['link-local', () => 'https://169.254.169.254/latest/meta-data/'],
    ['unspecified', () => at('0.0.0.0')],
    ['a backslash before a user', () => `https://ok.example\\@127.0.0.1:${portOf(hidden)}/`],
    ['a backslash, without TLS', () => `http://ok.example\\@127.0.0.1:${portOf(hidden)}/`],
    ['a user', () => `https://ok.example@127.0.0.1:${portOf(hidden)}/`],
    ['a file', () => 'file:///etc/passwd'],
    ['a line break', () => `https://127.0.0.1:${portOf(hidden)}/\r\nhost: x`],
    ['no URL', () => 'a picture'],
    ['an empty URL', () => ''],
    ['a data URL of another type', () => 'data:text/html;base64,PGI+'],
    ['a data URL that is no base64', () => 'data:image/png;base64,****'],
    ['a data URL of no image', () => `data:image/png;base64,${Buffer.from('GIF89a').toString('base64')}`],
    ['a very long URL', () => `https://ok.example/${'x'.repeat(20_000)}`],
  ];
  test.each(hostile)('%s', async (_, url) => {
    if (!mesh) return;
    const response = await chat([{ role: 'user', content: [text('what?'), image(url())] }]);
    const { error } = (await response.json()) as { error: { message: string } };
    expect([response.status, error]).toMatchObject([400, { param: 'messages[0].content[1].image_url.url' }]);
    expect(error.message).not.toMatch(/127\.0\.0\.1|ECONN|node_modules|\n\s+at /);
    expect(reached).toEqual([]);
    expect(asked).toBeUndefined();
  });

  test.each([
    ['/to-hidden', ['/to-hidden']],
    ['/file', ['/file']],
    ['/round', ['/round', '/round', '/round', '/round']],
    ['/none', ['/none']],
    ['/text', ['/text']],
    ['/large', ['/large']],
  ])('a redirect or an answer that is no image: %s', async (path, visited) => {
    if (!mesh) return;
    const response = await chat([{ role: 'user', content: [image(own(path))] }]);
    expect([response.status, await response.json()]).toMatchObject([
      400,
      { error: { param: 'messages[0].content[0].image_url.url' } },
    ]);
    expect(reached).toEqual(visited);
    expect(asked).toBeUndefined();
  });

  test('too many of one message, and of another than the user', async () => {
    if (!mesh) return;
    const many = await chat([{ role: 'user', content: new Array(17).fill(image(own('/image.png'))) }]);
    expect([many.status, await many.json()]).toMatchObject([
      400,
      { error: { param: 'messages[0].content[16].image_url.url' } },
    ]);
    const system = await chat([{ role: 'system', content: [image(DATA_URL)] }]);
    expect([system.status, await system.json()]).toMatchObject([
      400,
      { error: { param: 'messages[0].content' } },
    ]);
    expect(reached).toEqual([]);
  });
});
