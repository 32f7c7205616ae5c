import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { EchoRequestSchema, EchoResponseSchema } from '@landfall/proto/landfall/mesh/v1/echo_service_pb.js';
import { defineEntity, p, raw, UniqueConstraintViolationException } from '@mikro-orm/core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Database } from './database.ts';
import { once } from './idempotency.ts';
import { sqlMigration } from './migration.ts';
import { type TestDatabase, testDatabase } from './test-database.ts';

const Note = defineEntity({
  name: 'Note',
  tableName: 'note',
  properties: {
    id: p.text().primary(),
    body: p.text(),
    tags: p.json<Record<string, string>>(),
    score: p.double().nullable(),
    done: p.boolean(),
    createdMs: p.bigint('number'),
  },
});
const migrations = [
  sqlMigration('note-0001', [
    `create table note (id text not null primary key, body text not null, tags json not null,
       score double precision, done boolean not null, created_ms bigint not null)`,
  ]),
];

let place: TestDatabase | undefined;
beforeAll(async () => {
  place = await testDatabase();
});
afterAll(async () => {
  await place?.[Symbol.asyncDispose]();
});

const open = () =>
  Database.open({
    service: 'a-test',
    url: place!.url,
    file: join(place!.folder, 'a.sqlite'),
    entities: [Note],
    migrations,
  });

test('keeps rows of every portable type over a restart', async (t) => {
  if (!place) return t.skip();
  const createdMs = Date.now();
  {
    await using database = await open();
    await database.transaction((em) =>
      em.insert(Note, {
        id: '1',
        body: '笔记 \u{1f600}',
        tags: { a: 'b' },
        score: 0.1,
        done: true,
        createdMs,
      }),
    );
  }
  await using database = await open();
  const note = await database.read((em) => em.findOneOrFail(Note, { id: '1' }));
  expect(note).toMatchObject({ body: '笔记 \u{1f600}', tags: { a: 'b' }, score: 0.1, done: true, createdMs });
});

test('a failed transaction leaves nothing', async (t) => {
  if (!place) return t.skip();
  await using database = await open();
  const work = database.transaction(async (em) => {
    await em.insert(Note, { id: 'x', body: '', tags: {}, score: null, done: false, createdMs: 0 });
    throw new Error('after the insert');
  });
  await expect(work).rejects.toThrow('after the insert');
  expect(await database.fork().count(Note, { id: 'x' })).toBe(0);
});

test('two starts at once migrate once', async (t) => {
  if (!place) return t.skip();
  if (place.kind === 'sqlite') return t.skip('one process owns a SQLite file');
  const url = place.url;
  const many = await Promise.all(
    Array.from({ length: 4 }, () =>
      Database.open({ service: 'many', url, file: '', entities: [Note], migrations }),
    ),
  );
  for (const database of many) await database[Symbol.asyncDispose]();
});

test('a request id runs its mutation once, and refuses other content', async (t) => {
  if (!place) return t.skip();
  await using database = await open();
  let runs = 0;
  const call = {
    tenant: 't',
    method: 'm',
    requestId: 'r1',
    input: EchoRequestSchema,
    output: EchoResponseSchema,
  };
  const run = (text: string) =>
    database.transaction((em) =>
      once(em, call, create(EchoRequestSchema, { text }), async () => {
        runs += 1;
        return create(EchoResponseSchema, { echo: { text, number: 9007199254740993n } });
      }),
    );
  const first = await run('a');
  expect(await run('a')).toEqual(first);
  expect(runs).toBe(1);
  await expect(run('b')).rejects.toMatchObject({ code: 3, fieldViolations: [{ field: 'request_id' }] });
});

test('repeats at the same time run once and all get its answer', async (t) => {
  if (!place) return t.skip();
  await using database = await open();
  let runs = 0;
  const call = {
    tenant: 't',
    method: 'm',
    requestId: 'race',
    input: EchoRequestSchema,
    output: EchoResponseSchema,
  };
  const run = () =>
    database.transaction((em) =>
      once(em, call, create(EchoRequestSchema, { text: 'a' }), async () => {
        runs += 1;
        await new Promise((resolve) => setTimeout(resolve, 20));
        return create(EchoResponseSchema, { echo: { text: 'a', number: 1n } });
      }),
    );
  const answers = await Promise.all(Array.from({ length: 6 }, run));
  expect(runs).toBe(1);
  for (const answer of answers) expect(answer).toEqual(answers[0]);
});

const note = (id: string, body: string) => ({ id, body, tags: {}, score: null, done: false, createdMs: 0 });

test('of several that find a key free all but one look again, and find it taken', async (t) => {
  if (!place) return t.skip();
  await using database = await open();
  const take = (body: string) =>
    database.transaction(async (em) => {
      const taken = await em.findOne(Note, { id: 'raced' });
      if (taken) return taken.body;
      await new Promise((resolve) => setTimeout(resolve, 20));
      await em.insert(Note, note('raced', body));
      return body;
    });
  const told = await Promise.all(['a', 'b', 'c', 'd'].map(take));
  expect(new Set(told).size).toBe(1);
});

test('a key that stays taken is refused in the end', async (t) => {
  if (!place) return t.skip();
  await using database = await open();
  let tries = 0;
  const insert = () =>
    database.transaction((em) => {
      tries += 1;
      return em.insert(Note, note('taken', ''));
    });
  await insert();
  await expect(insert()).rejects.toBeInstanceOf(UniqueConstraintViolationException);
  expect(tries).toBe(1 + 3);
});

test('two that hold rows crosswise both end', async (t) => {
  if (!place) return t.skip();
  await using database = await open();
  await database.transaction((em) => em.insertMany(Note, [note('left', ''), note('right', '')]));
  const reached = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const add = (order: string[], which: number) =>
    database.transaction(async (em) => {
      for (const [i, id] of order.entries()) {
        await em.nativeUpdate(Note, { id }, { body: raw('body || ?', [String(which)]) });
        if (i > 0) continue;
        reached[which]!.resolve();
        // Where one transaction waits for the other to begin, the database has one writer at a time: go on.
        if (place!.kind === 'postgres') await reached[1 - which]!.promise;
      }
    });
  await Promise.all([add(['left', 'right'], 0), add(['right', 'left'], 1)]);
  const rows = await database.read((em) => em.find(Note, { id: { $in: ['left', 'right'] } }));
  for (const { body } of rows) expect([...body].sort().join('')).toBe('01');
});
