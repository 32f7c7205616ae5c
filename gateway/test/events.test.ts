import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Broker } from '@landfall/common/events/broker.ts';
import { type NatsServer, startNatsServer } from '@landfall/common/events/nats-server.ts';
import { createLogger } from '@landfall/common/log/logger.ts';
import { headers as natsHeaders } from '@nats-io/transport-node';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { GatewayMesh } from './harness.ts';

const READY = 'landfall.registry.model.ready.v1';
const logger = createLogger('test', 'silent');

let folder: string;
let nats: NatsServer;
let broker: Broker;
let mesh: GatewayMesh | undefined;
let receiver: Server;
let receiverHost: string;

interface Posted {
  path: string;
  headers: Record<string, string>;
  body: string;
}
const posted: Posted[] = [];
/** Statuses that a path answers with, in order; 204 when they are used up. */
const statuses = new Map<string, number[]>();

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'landfall-events-'));
  nats = await startNatsServer({ folder });
  broker = await Broker.connect(nats.url, 'test', logger);
  receiver = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (part) => {
      body += part;
    });
    request.on('end', () => {
      const path = request.url!;
      posted.push({ path, headers: request.headers as Record<string, string>, body });
      response.writeHead(statuses.get(path)?.shift() ?? 204, { location: '/elsewhere' }).end();
    });
  }).listen(0, '127.0.0.1');
  await once(receiver, 'listening');
  receiverHost = `127.0.0.1:${(receiver.address() as AddressInfo).port}`;
  const env = { LANDFALL_NATS_URL: nats.url, LANDFALL_WEBHOOK_HOSTS: receiverHost };
  mesh = await GatewayMesh.start({ generate: async function* () {}, env });
  // The gateway answers before it has found its broker.
  if (mesh) await vi.waitUntil(async () => (await eventsAnswer()) === 200, { timeout: 30_000 });
}, 60_000);
afterAll(async () => {
  await mesh?.[Symbol.asyncDispose]();
  await broker?.[Symbol.asyncDispose]();
  await nats?.[Symbol.asyncDispose]();
  receiver?.close();
  rmSync(folder, { recursive: true, force: true });
});

async function eventsAnswer(): Promise<number> {
  const gone = new AbortController();
  const headers = { authorization: `Bearer ${mesh!.apiKey}` };
  const { status } = await fetch(`${mesh!.url}/v1/events`, { headers, signal: gone.signal });
  gone.abort();
  return status;
}

async function happen(subject: string, payload: object): Promise<string> {
  const id = crypto.randomUUID();
  const headers = natsHeaders();
  headers.set('ce-id', id);
  headers.set('ce-time', new Date().toISOString());
  await broker.js.publish(subject, JSON.stringify(payload), { headers, msgID: id });
  return id;
}
const call = (service: string, method: string, body: object) =>
  fetch(`${mesh!.url}/landfall.gateway.v1.${service}/${method}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${mesh!.apiKey}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });

/** Events as a browser would see them: id, name and data. */
async function* serverSent(query: string, signal: AbortSignal, more: Record<string, string> = {}) {
  const headers = { authorization: `Bearer ${mesh!.apiKey}`, ...more };
  const response = await fetch(`${mesh!.url}/v1/events${query}`, { headers, signal });
  expect([response.status, response.headers.get('content-type')]).toEqual([
    200,
    'text/event-stream; charset=utf-8',
  ]);
  let rest = '';
  for await (const part of response.body!.pipeThrough(new TextDecoderStream())) {
    rest += part;
    const blocks = rest.split('\n\n');
    rest = blocks.pop()!;
    for (const block of blocks) {
      if (block.startsWith(':')) {
        yield { name: 'open', id: '', data: undefined };
        continue;
      }
      const field = (name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(block)![1]!;
      yield { name: field('event'), id: field('id'), data: JSON.parse(field('data')) };
    }
  }
}

describe('server-sent events', () => {
  test('what happens in the tenant, of the kinds asked for, and on from where a browser left off', async (t) => {
    if (!mesh) return t.skip();
    const gone = new AbortController();
    const stream = serverSent(`?subject=${READY}`, gone.signal);
    expect((await stream.next()).value).toMatchObject({ name: 'open' });
    const ending = new AbortController();
    await happen(READY, { tenant: 'other', name: 'theirs' });
    await happen('landfall.registry.alias.moved.v1', { tenant: 'default', name: 'unasked' });
    await happen(READY, { tenant: 'default', name: 'ours' });
    const { value: event } = await stream.next();
    expect(event).toMatchObject({ name: 'model.ready', data: { tenant: 'default', name: 'ours' } });
    const on = serverSent(`?subject=${READY}`, ending.signal, {
      'last-event-id': String(Number(event!.id) - 1),
    });
    await on.next();
    expect((await on.next()).value).toEqual(event);
    gone.abort();
    ending.abort();
  });

  test('what is closed to a caller is left out, whichever field names it, and there for others', async (t) => {
    if (!mesh) return t.skip();
    const [deployed, configured] = [
      'landfall.balancer.deployment.changed.v1',
      'landfall.gateway.config.changed.v1',
    ];
    for (const resource of ['models/secret', 'deployments/ward']) {
      const restricted = await call('AccessService', 'RestrictResource', { resource, restricted: true });
      expect(restricted.status).toBe(200);
      const right = { resource, grantee: 'group:doctors', right: 'ROLE_VIEWER' };
      expect((await call('AccessService', 'GrantRight', right)).status).toBe(200);
    }
    const key = async (groups: string[]) => {
      const made = await call('AdminService', 'CreateKey', { name: 'v', role: 'ROLE_VIEWER', groups });
      return ((await made.json()) as { secret: string }).secret;
    };
    const gone = new AbortController();
    const watch = (secret: string) =>
      serverSent(`?subject=${READY}&subject=${deployed}&subject=${configured}`, gone.signal, {
        authorization: `Bearer ${secret}`,
      });
    const [doctor, stranger] = [watch(await key(['doctors'])), watch(await key([]))];
    await Promise.all([doctor.next(), stranger.next()]);
    const tenant = 'default';
    const closed: [string, object][] = [
      [READY, { tenant, name: 'secret', ref: 'models:/secret/1.0.0' }],
      [READY, { tenant, name: 'tuned', base: 'models:/secret/1.0.0' }],
      [deployed, { tenant, name: 'ward', model: 'models:/open/1.0.0' }],
      [deployed, { tenant, name: 'chat', model: 'models:/secret/1.0.0' }],
      [configured, { tenant, author: 'key:1', method: 'm', resource: 'models/secret' }],
    ];
    for (const [subject, payload] of closed) await happen(subject, payload);
    const open = { tenant, name: 'last' };
    await happen(READY, open);
    const seen = async (events: typeof doctor) => {
      const all: unknown[] = [];
      for (;;) {
        const { data } = (await events.next()).value!;
        // Keys that were made here are changes too.
        if ((data as { author?: string }).author !== 'key:1' && 'author' in (data as object)) continue;
        all.push(data);
        if ((data as { name?: string }).name === 'last') return all;
      }
    };
    expect(await seen(stranger)).toEqual([open]);
    expect(await seen(doctor)).toEqual([...closed.map(([, payload]) => payload), open]);
    gone.abort();
  });

  test('bad questions are refused', async (t) => {
    if (!mesh) return t.skip();
    const ask = async (query: string, more: Record<string, string> = {}) => {
      const headers = { authorization: `Bearer ${mesh!.apiKey}`, ...more };
      const response = await fetch(`${mesh!.url}/v1/events${query}`, { headers });
      await response.text();
      return response.status;
    };
    expect(await ask('?subject=%3E')).toBe(400);
    expect(await ask('?subject=landfall.*.*.*.v1')).toBe(400);
    expect(await ask('?after=-1')).toBe(400);
    expect(await ask('', { 'last-event-id': '1;DROP' })).toBe(400);
    expect(await ask('', { authorization: 'Bearer lf_wrong' })).toBe(401);
  });
});

describe('webhooks', () => {
  test('are signed, tried again, and leave when their server is gone', { timeout: 60_000 }, async (t) => {
    if (!mesh) return t.skip();
    const url = `http://${receiverHost}/hook`;
    statuses.set('/hook', [500, 302]);
    const made = (await (
      await call('WebhookService', 'CreateWebhook', { url, subjects: [READY] })
    ).json()) as {
      webhook: { id: string };
      secret: string;
    };
    expect(made.secret).toMatch(/^whsec_/);
    await happen('landfall.registry.alias.moved.v1', { tenant: 'default', name: 'unasked' });
    await happen(READY, { tenant: 'other', name: 'theirs' });
    const id = await happen(READY, { tenant: 'default', name: 'ours' });
    await expect.poll(() => posted.length, { timeout: 20_000 }).toBe(1);
    // Five seconds after the first failure; the redirect is one too, and is not followed.
    await expect.poll(() => posted.length, { timeout: 20_000 }).toBe(2);
    for (const { path, headers, body } of posted) {
      expect(path).toBe('/hook');
      expect(headers['webhook-id']).toBe(id);
      expect(JSON.parse(body)).toEqual({
        type: READY,
        timestamp: expect.any(String),
        data: { tenant: 'default', name: 'ours' },
      });
      const signed = `${id}.${headers['webhook-timestamp']}.${body}`;
      const key = Buffer.from(made.secret.slice('whsec_'.length), 'base64');
      expect(headers['webhook-signature']).toBe(
        `v1,${createHmac('sha256', key).update(signed).digest('base64')}`,
      );
    }
    const list = async () =>
      ((await (await call('WebhookService', 'ListWebhooks', {})).json()) as { webhooks: object[] }).webhooks;
    expect(await list()).toMatchObject([{ id: made.webhook.id, waiting: '1' }]);
    expect(JSON.stringify(await list())).not.toContain('whsec');
    const rotated = await call('WebhookService', 'RotateWebhookSecret', {
      id: made.webhook.id,
      overlap: '60s',
    });
    const fresh = (await rotated.json()) as { secret: string; replacedUntil: string };
    expect([rotated.status, fresh.secret === made.secret]).toEqual([200, false]);
    expect(Math.abs(Date.parse(fresh.replacedUntil) - Date.now() - 60_000)).toBeLessThan(60_000);
    await happen(READY, { tenant: 'default', name: 'rotated' });
    await expect.poll(() => posted.at(-1)?.body, { timeout: 20_000 }).toContain('rotated');
    expect(posted.at(-1)!.headers['webhook-signature']!.split(' ')).toHaveLength(2);
    const none = await call('WebhookService', 'RotateWebhookSecret', { id: crypto.randomUUID() });
    expect(none.status).toBe(404);
    statuses.set('/hook', [410]);
    await happen(READY, { tenant: 'default', name: 'last' });
    await expect
      .poll(async () => ((await list())[0] as { ended?: string }).ended, { timeout: 20_000 })
      .toMatch(/410/);
    expect((await call('WebhookService', 'DeleteWebhook', { id: made.webhook.id })).status).toBe(200);
    expect(await list()).toBeUndefined();
  });

  test.each([
    'http://example.com/',
    'https://127.0.0.1/',
    'https://[::1]/',
    'https://[::ffff:10.0.0.1]/',
    'https://169.254.169.254/latest/meta-data',
    'https://0x7f.1/',
    'https://2130706433/',
    'https://user:pass@example.com/',
    'http://ok.example\\@127.0.0.1/',
    'file:///etc/passwd',
    'ftp://example.com/',
    'javascript:alert(1)',
    '//example.com',
    'https://例え.jp/',
  ])('%s is refused', async (url) => {
    if (!mesh) return;
    const response = await call('WebhookService', 'CreateWebhook', { url });
    expect([response.status, await response.json()]).toMatchObject([400, { code: 'invalid_argument' }]);
  });

  test('every change of configuration is an event', async (t) => {
    if (!mesh) return t.skip();
    const gone = new AbortController();
    const stream = serverSent('?subject=landfall.gateway.config.changed.v1', gone.signal);
    await stream.next();
    expect((await call('AdminService', 'SetPolicy', { policy: {} })).status).toBe(200);
    const { value } = await stream.next();
    expect(value).toMatchObject({ name: 'config.changed', data: { tenant: 'default', resource: 'policy' } });
    gone.abort();
  });
});
