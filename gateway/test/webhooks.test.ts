/** Webhooks whose servers are slow, broken or gone, and whose secrets change. */
import { createHmac, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { Database } from '@landfall/common/db/database.ts';
import { type TestDatabase, testDatabase } from '@landfall/common/db/test-database.ts';
import { Broker } from '@landfall/common/events/broker.ts';
import { startNatsServer } from '@landfall/common/events/nats-server.ts';
import { createLogger } from '@landfall/common/log/logger.ts';
import { headers as natsHeaders } from '@nats-io/transport-node';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { gatewayEntities, gatewayMigrations } from '../src/db/entities.ts';
import { DeliverySchema, WebhookSchema } from '../src/db/webhook-entities.ts';
import { SecretBox } from '../src/webhooks/secret.ts';
import { Webhooks } from '../src/webhooks/webhooks.ts';

const SUBJECT = 'landfall.registry.model.ready.v1';
const HOUR = 3_600_000;
const logger = createLogger('test', 'silent');
const secrets = new SecretBox(randomBytes(48));
const PATIENT = { timeout: 30_000 };

let place: TestDatabase | undefined;
let database: Database;
let broker: Broker;
let origin: string;
const open = new AsyncDisposableStack();

interface Post {
  path: string;
  id: string;
  seconds: string;
  signatures: string[];
  body: string;
  answer: ServerResponse;
}
const posts: Post[] = [];
/** What a path answers: a status, or nothing for now. */
const answers = new Map<string, (post: Post) => number | undefined>();

beforeAll(async () => {
  place = await testDatabase();
  if (!place) return;
  open.use(place);
  const nats = open.use(await startNatsServer({ folder: join(place.folder, 'nats') }));
  broker = open.use(await Broker.connect(nats.url, 'test', logger));
  database = open.use(
    await Database.open({
      ...{ service: 'gateway', url: place.url, file: join(place.folder, 'gateway.sqlite') },
      ...{ entities: gatewayEntities, migrations: gatewayMigrations },
    }),
  );
  const receiver: Server = createServer(async (request, answer) => {
    const body = Buffer.concat(await request.toArray()).toString();
    const header = (name: string) => String(request.headers[`webhook-${name}`]);
    const [id, seconds] = [header('id'), header('timestamp')];
    const post = {
      path: request.url!,
      id,
      seconds,
      signatures: header('signature').split(' '),
      body,
      answer,
    };
    posts.push(post);
    const status = answers.get(post.path)!(post);
    if (status !== undefined) answer.writeHead(status).end();
  }).listen(0, '127.0.0.1');
  await once(receiver, 'listening');
  open.defer(() => {
    receiver.close();
    receiver.closeAllConnections();
  });
  const host = `127.0.0.1:${(receiver.address() as AddressInfo).port}`;
  origin = `http://${host}`;
  // Further attempts are made when a test says that they are due.
  const webhooks = new Webhooks({
    ...{ database, secrets, logger, hosts: new Set([host]), backoffMs: [HOUR, HOUR] },
  });
  open.use(webhooks);
  await webhooks.start(broker);
});
afterAll(() => open.disposeAsync());

async function webhook(path: string): Promise<{ id: string; tenant: string; secret: string }> {
  const [id, tenant, secret] = [crypto.randomUUID(), `t-${crypto.randomUUID()}`, SecretBox.make()];
  await database.transaction((em) =>
    em.insert(WebhookSchema, {
      ...{ id, tenant, url: origin + path, subjects: '', secret: secrets.seal(secret) },
      ...{ replaced: '', replacedUntilMs: 0, failingMs: 0, ended: '', createdMs: Date.now() },
    }),
  );
  return { id, tenant, secret };
}

async function happen(tenant: string, name = 'm'): Promise<string> {
  const id = crypto.randomUUID();
  const headers = natsHeaders();
  headers.set('ce-id', id);
  headers.set('ce-time', new Date().toISOString());
  await broker.js.publish(SUBJECT, JSON.stringify({ tenant, name }), { headers, msgID: id });
  return id;
}

const row = (id: string) => database.read((em) => em.findOneOrFail(WebhookSchema, { id }));
const waiting = (webhookId: string) => database.read((em) => em.find(DeliverySchema, { webhookId }));
const postsTo = (path: string) => posts.filter((post) => post.path === path);

/** Resolves when an event was tried so often and what came of it is kept. */
const tried = (webhookId: string, attempts: number) =>
  expect.poll(async () => (await waiting(webhookId)).map((one) => one.attempts), PATIENT).toEqual([attempts]);
const makeDue = (webhookId: string) =>
  database.read((em) => em.nativeUpdate(DeliverySchema, { webhookId }, { dueMs: Date.now() }));

function expectSigned(post: Post, ...keys: string[]): void {
  const expected = keys.map((secret) => {
    const key = Buffer.from(secret.slice('whsec_'.length), 'base64');
    return `v1,${createHmac('sha256', key).update(`${post.id}.${post.seconds}.${post.body}`).digest('base64')}`;
  });
  expect(post.signatures).toEqual(expected);
}

test('a server that takes nothing is tried again and again, and is given up when it is dead', async (t) => {
  if (!place) return t.skip();
  answers.set('/dead', () => 500);
  const { id, tenant, secret } = await webhook('/dead');
  const event = await happen(tenant);
  for (const attempts of [1, 2]) {
    await tried(id, attempts);
    const { dueMs } = (await waiting(id))[0]!;
    expect(dueMs).toBeGreaterThan(Date.now() + 0.9 * HOUR);
    expect(dueMs).toBeLessThan(Date.now() + 1.1 * HOUR);
    await makeDue(id);
  }
  // As if its first attempt were as long ago as it would have been.
  await database.read((em) => em.nativeUpdate(WebhookSchema, { id }, { failingMs: Date.now() - 2 * HOUR }));
  await expect
    .poll(async () => (await row(id)).ended, PATIENT)
    .toMatch(/^nothing was taken since .*Z: attempt 3 ended answered 500$/);
  expect(await waiting(id)).toEqual([]);
  const all = postsTo('/dead');
  expect(all.map((post) => post.id)).toEqual([event, event, event]);
  for (const post of all) expectSigned(post, secret);
  await happen(tenant);
  await expect.poll(() => waiting(id), PATIENT).toEqual([]);
});

test('an event that is never taken is let go, and its webhook lives on where others are', async (t) => {
  if (!place) return t.skip();
  answers.set('/picky', ({ body }) => (body.includes('"bad"') ? 400 : 204));
  const { id, tenant } = await webhook('/picky');
  await happen(tenant, 'bad');
  for (const attempts of [1, 2]) {
    await tried(id, attempts);
    expect((await row(id)).failingMs).toBeGreaterThan(0);
    await happen(tenant, 'good');
    await expect.poll(async () => (await row(id)).failingMs, PATIENT).toBe(0);
    await makeDue(id);
  }
  await expect.poll(() => waiting(id), PATIENT).toEqual([]);
  expect((await row(id)).ended).toBe('');
  expect(postsTo('/picky').filter(({ body }) => body.includes('"bad"'))).toHaveLength(3);
});

test('a server that takes its time keeps no other webhook waiting', async (t) => {
  if (!place) return t.skip();
  const held: Post[] = [];
  answers.set('/slow', (post) => void held.push(post));
  answers.set('/quick', () => 204);
  const [slow, quick] = [await webhook('/slow'), await webhook('/quick')];
  for (let i = 0; i < 40; i++) await happen(slow.tenant);
  await expect.poll(() => held.length, PATIENT).toBe(4);
  await happen(quick.tenant);
  await expect.poll(() => postsTo('/quick').length, PATIENT).toBe(1);
  expect(held).toHaveLength(4);
  answers.set('/slow', () => 204);
  for (const { answer } of held) answer.writeHead(204).end();
  await expect.poll(() => waiting(slow.id), PATIENT).toEqual([]);
});

test('while a secret is being replaced, both sign', async (t) => {
  if (!place) return t.skip();
  answers.set('/rotated', () => 204);
  const { id, tenant, secret } = await webhook('/rotated');
  const fresh = SecretBox.make();
  const change = { secret: secrets.seal(fresh), replaced: secrets.seal(secret) };
  const rotate = (replacedUntilMs: number) =>
    database.read((em) => em.nativeUpdate(WebhookSchema, { id }, { ...change, replacedUntilMs }));
  await rotate(Date.now() + HOUR);
  await happen(tenant);
  await expect.poll(() => postsTo('/rotated').length, PATIENT).toBe(1);
  expectSigned(postsTo('/rotated')[0]!, fresh, secret);
  await rotate(Date.now() - 1);
  await happen(tenant);
  await expect.poll(() => postsTo('/rotated').length, PATIENT).toBe(2);
  expectSigned(postsTo('/rotated')[1]!, fresh);
});
