import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { AliasMovedSchema } from '@landfall/proto/landfall/event/v1/events_pb.js';
import { defineEntity, p } from '@mikro-orm/core';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { Database } from '../db/database.ts';
import { sqlMigration } from '../db/migration.ts';
import { type TestDatabase, testDatabase } from '../db/test-database.ts';
import { createLogger } from '../log/logger.ts';
import { Broker, DEAD_LETTER_STREAM, EVENT_STREAM } from './broker.ts';
import { EventConsumer } from './consumer.ts';
import { type NatsServer, startNatsServer } from './nats-server.ts';
import { announce, OutboxRelay } from './outbox.ts';
import { WorkQueue } from './work-queue.ts';

const Effect = defineEntity({
  name: 'Effect',
  tableName: 'effect',
  properties: { id: p.text().primary(), times: p.integer() },
});
const logger = createLogger('test', 'silent');
const SUBJECT = 'landfall.registry.alias.moved.v1';

let place: TestDatabase | undefined;
let folder: string;
let nats: NatsServer;
let database: Database;
let broker: Broker;
const cleanups: AsyncDisposable[] = [];

beforeAll(async () => {
  place = await testDatabase();
  folder = mkdtempSync(join(tmpdir(), 'landfall-nats-'));
  nats = await startNatsServer({ folder });
  if (!place) return;
  database = await Database.open({
    service: 'events-test',
    url: place.url,
    file: join(place.folder, 'events.sqlite'),
    entities: [Effect],
    migrations: [
      sqlMigration('effect-0001', [
        'create table effect (id text not null primary key, times integer not null)',
      ]),
    ],
  });
});
beforeEach(async () => {
  broker = await Broker.connect(nats.url, 'test', logger);
  await broker.manager.streams.purge(EVENT_STREAM);
});
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup[Symbol.asyncDispose]();
  await broker[Symbol.asyncDispose]();
  await database?.fork().nativeDelete(Effect, {});
});
afterAll(async () => {
  await database?.[Symbol.asyncDispose]();
  await nats[Symbol.asyncDispose]();
  await place?.[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

const moved = (name: string) => ({
  subject: SUBJECT,
  schema: AliasMovedSchema,
  payload: create(AliasMovedSchema, {
    tenant: 't',
    name,
    alias: 'production',
    toVersion: '1.0.0',
    revision: 1n,
  }),
});

function relay() {
  const outbox = new OutboxRelay(database, broker, logger);
  outbox.start();
  cleanups.push(outbox);
  return outbox;
}

async function consume(durable: string, fail: (name: string) => boolean = () => false) {
  const consumer = new EventConsumer({
    broker,
    database,
    logger,
    durable,
    subject: SUBJECT,
    schema: AliasMovedSchema,
    async handle(event, { em }) {
      if (fail(event.name)) throw new Error(`cannot take ${event.name}`);
      const known = await em!.findOne(Effect, { id: event.name });
      if (known) known.times += 1;
      else await em!.insert(Effect, { id: event.name, times: 1 });
      await em!.flush();
    },
  });
  await consumer.start();
  cleanups.push(consumer);
}

const effects = async () => {
  const rows = await database.fork().find(Effect, {}, { orderBy: { id: 'asc' } });
  return Object.fromEntries(rows.map((row) => [row.id, row.times]));
};

test('a committed event has one effect; one rolled back has none', async (t) => {
  if (!place) return t.skip();
  relay();
  await consume('once');
  await database.transaction((em) => announce(em, 'registry', moved('a')));
  await database
    .transaction(async (em) => {
      await announce(em, 'registry', moved('rolled-back'));
      throw new Error('no');
    })
    .catch(() => {});
  await database.transaction((em) => announce(em, 'registry', moved('b')));
  await expect.poll(effects).toEqual({ a: 1, b: 1 });
  const message = await broker.manager.streams.getMessage(EVENT_STREAM, { last_by_subj: SUBJECT });
  expect(message!.header.get('ce-type')).toBe(SUBJECT);
  expect(message!.json()).toMatchObject({ name: 'b', alias: 'production' });
});

test('the same message again, even beyond the broker’s own window, has no second effect', async (t) => {
  if (!place) return t.skip();
  relay();
  await consume('twice');
  await database.transaction((em) => announce(em, 'registry', moved('a')));
  await expect.poll(effects).toEqual({ a: 1 });
  const message = await broker.manager.streams.getMessage(EVENT_STREAM, { last_by_subj: SUBJECT });
  for (let i = 0; i < 3; i++)
    await broker.js.publish(SUBJECT, message!.data, { headers: headersWithout(message!.header) });
  await database.transaction((em) => announce(em, 'registry', moved('z')));
  await expect.poll(effects).toEqual({ a: 1, z: 1 });
});

function headersWithout(header: import('@nats-io/transport-node').MsgHdrs) {
  header.delete('Nats-Msg-Id');
  return header;
}

test('a poisoned message goes to the dead letters once and the ones behind it flow', async (t) => {
  if (!place) return t.skip();
  await broker.manager.streams.purge(DEAD_LETTER_STREAM);
  relay();
  await consume('poison', (name) => name === 'bad');
  for (const name of ['a', 'bad', 'b'])
    await database.transaction((em) => announce(em, 'registry', moved(name)));
  await expect.poll(effects).toEqual({ a: 1, b: 1 });
  const letters = async () => (await broker.manager.streams.info(DEAD_LETTER_STREAM)).state.messages;
  await expect.poll(letters, { timeout: 20_000 }).toBe(1);
  const letter = await broker.manager.streams.getMessage(DEAD_LETTER_STREAM, {
    last_by_subj: 'landfall-dlq.poison',
  });
  expect(letter!.header.get('landfall-reason')).toBe('cannot take bad');
}, 30_000);

test('nothing is lost when the broker dies while events are written', async (t) => {
  if (!place) return t.skip();
  relay();
  await consume('broken');
  const names = Array.from({ length: 60 }, (_, i) => `n${String(i).padStart(2, '0')}`);
  for (const [i, name] of names.entries()) {
    if (i === 20) await nats.kill();
    if (i === 40) nats = await startNatsServer({ folder, port: nats.port });
    await database.transaction((em) => announce(em, 'registry', moved(name)));
  }
  await expect.poll(effects, { timeout: 30_000 }).toEqual(Object.fromEntries(names.map((name) => [name, 1])));
}, 40_000);

test('a task whose worker has gone silent goes to another', async () => {
  const queue = new WorkQueue({
    broker,
    logger,
    stream: 'TEST_WORK',
    subject: 'landfall-work.test',
    ackWaitMs: 1000,
  });
  const consumer = await queue.ensure();
  await broker.js.publish('landfall-work.test', 'task', { msgID: '1' });
  // The first worker takes it and dies: it neither answers nor says that it works.
  expect((await consumer.next({ expires: 1000 }))!.string()).toBe('task');
  const stop = new AbortController();
  const taken: string[] = [];
  await queue.work(async (payload, { deliveries }) => {
    taken.push(payload);
    expect(deliveries).toBeGreaterThan(1);
    stop.abort();
    return 'done';
  }, stop.signal);
  expect(taken).toEqual(['task']);
});
