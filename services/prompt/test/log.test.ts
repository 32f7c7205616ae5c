import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import { Database, type EntityManager } from '@landfall/common/db/database.ts';
import { type TestDatabase, testDatabase } from '@landfall/common/db/test-database.ts';
import { createLogger } from '@landfall/common/log/logger.ts';
import { InvocationSchema as InvocationMessage } from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';
import { ListInvocationsRequestSchema } from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import { v7 as uuidv7 } from 'uuid';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { InvocationSchema, promptEntities, ScoreSchema } from '../src/db/entities.ts';
import { promptMigrations } from '../src/db/migrations.ts';
import { InvocationLog } from '../src/domain/invocation-log.ts';
import { searchInvocations } from '../src/domain/invocation-search.ts';
import { invocationReplies } from '../src/domain/replies.ts';

const seed = Number(process.env.LANDFALL_TEST_SEED) || Math.floor(Math.random() * 2 ** 31);
console.info(`LANDFALL_TEST_SEED=${seed}`);
let state = seed;
/** Park and Miller 1988. */
const below = (n: number) => {
  state = (state * 48271) % 2147483647;
  return state % n;
};

const logger = createLogger('test', 'silent');
let place: TestDatabase | undefined;
const open = () =>
  Database.open({
    service: 'prompt',
    url: place!.url,
    file: join(place!.folder, 'prompt.sqlite'),
    entities: promptEntities,
    migrations: promptMigrations,
  });
let database: Database;
beforeAll(async () => {
  place = await testDatabase();
  if (place) database = await open();
});
afterAll(async () => {
  await database?.[Symbol.asyncDispose]();
  await place?.[Symbol.asyncDispose]();
});

const record = (tenant: string, requestId = '', more: object = {}) => ({
  ...{ tenant, requestId, requestDigest: 'd', createdMs: Date.now() },
  entry: create(InvocationMessage, { id: uuidv7(), name: 'ask', version: '1.0.0', output: '答', ...more }),
});
const idsOf = async (tenant: string) =>
  (await database.read((em) => em.find(InvocationSchema, { tenant }))).map(({ id }) => id).sort();

test('an entry is found by its token until it is committed, and is in the database from then on', async (t) => {
  if (!place) return t.skip();
  const log = new InvocationLog({ database, logger });
  const [first, second] = [record('tokens', 'once'), record('tokens', 'once')];
  log.add(first);
  log.add(second);
  expect(log.pending('tokens', 'once')).toBe(first);
  expect(log.pending('others', 'once')).toBeUndefined();
  await log.settled();
  expect(log.pending('tokens', 'once')).toBeUndefined();
  const rows = await database.read((em) =>
    em.find(InvocationSchema, { tenant: 'tokens', requestId: 'once' }),
  );
  expect(rows.map(({ id }) => id)).toEqual([first.entry.id]);
  expect(await idsOf('tokens')).toEqual([first.entry.id, second.entry.id].sort());
});

test('a failed call leaves its token free', async (t) => {
  if (!place) return t.skip();
  const log = new InvocationLog({ database, logger });
  log.add(record('failed', 'again', { error: 'UNAVAILABLE' }));
  expect(log.pending('failed', 'again')).toBeUndefined();
  await log.settled();
  expect(await database.read((em) => em.findOne(InvocationSchema, { tenant: 'failed' }))).toMatchObject({
    requestId: null,
    failed: true,
    error: 'UNAVAILABLE',
  });
});

test('a row that no table takes stops no other', async (t) => {
  if (!place) return t.skip();
  const log = new InvocationLog({ database, logger });
  const taken = [record('mixed'), record('mixed')];
  const refused = record('mixed');
  Object.assign(refused, { requestDigest: null });
  for (const one of [taken[0]!, refused, taken[1]!]) log.add(one);
  await log.settled();
  expect(await idsOf('mixed')).toEqual(taken.map(({ entry }) => entry.id).sort());
});

test('entries are kept whatever becomes of what is learnt from them, and each is shown once', async (t) => {
  if (!place) return t.skip();
  const shown: string[] = [];
  const run = (em: EntityManager, sql: string) =>
    em.getConnection().execute(sql, [], 'run', em.getTransactionContext());
  const observe = async (em: EntityManager, fresh: readonly { entry: { id: string } }[]) => {
    shown.push(...fresh.map(({ entry }) => entry.id));
    await run(em, `delete from invocation where tenant = 'learnt'`);
    await run(em, 'select nonsense from nowhere');
  };
  const log = new InvocationLog({ database, logger, observe });
  const kept = [record('learnt'), record('learnt')];
  for (const one of kept) log.add(one);
  await log.settled();
  expect(await idsOf('learnt')).toEqual(kept.map(({ entry }) => entry.id).sort());
  // A commit whose answer got lost is tried again: what is there is not new.
  for (const one of kept) log.add(one);
  await log.settled();
  expect(shown.sort()).toEqual(kept.map(({ entry }) => entry.id).sort());
});

test('invocations beyond the limit are refused until one has ended', async (t) => {
  if (!place) return t.skip();
  const log = new InvocationLog({ database, logger, limit: 2 });
  const running = log.admit();
  log.add(record('limit'));
  expect(() => log.admit()).toThrow(
    expect.objectContaining({ code: status.RESOURCE_EXHAUSTED, reason: 'LOG_FULL', retryAfterMs: 1000 }),
  );
  await log.settled();
  log.admit()[Symbol.dispose]();
  running[Symbol.dispose]();
});

test('while the disk is full whoever waits is told; entries wait for room, and at the end what is lost is said', async (t) => {
  if (!place) return t.skip();
  const run = (sql: string) =>
    database.transaction((em) => em.getConnection().execute(sql, [], 'run', em.getTransactionContext()));
  const fill = async () => {
    if (place!.kind === 'sqlite') {
      await run(
        `create trigger full before insert on invocation begin select raise(abort, 'database or disk is full'); end`,
      );
      return;
    }
    await run(`create or replace function full_disk() returns trigger language plpgsql as
      $$ begin raise exception 'no room' using errcode = '53100'; end $$`);
    await run('create trigger "full" before insert on invocation for each row execute function full_disk()');
  };
  const clear = () =>
    run(place!.kind === 'sqlite' ? 'drop trigger full' : 'drop trigger "full" on invocation');
  const said: unknown[] = [];
  const listening = { ...logger, warn: () => {}, error: (fields: unknown) => said.push(fields) };
  const log = new InvocationLog({ database, logger: listening as unknown as typeof logger });
  await fill();
  const kept = record('full');
  log.add(kept);
  await expect(log.settled()).rejects.toMatchObject({ code: status.UNAVAILABLE });
  await clear();
  await expect.poll(() => idsOf('full')).toEqual([kept.entry.id]);
  await fill();
  log.add(record('full'));
  await expect(log.settled()).rejects.toMatchObject({ code: status.UNAVAILABLE });
  await log.close(0);
  expect(said).toEqual([{ lost: 1 }]);
  await clear();
});

test('scores are searched alike where few and where many lie in the range, newest first', async (t) => {
  if (!place) return t.skip();
  const tenant = 'scored';
  const rows = Array.from({ length: 6000 }, () => uuidv7()).map((id, i) => ({
    ...{
      tenant,
      name: i % 3 ? 'ask' : 'tell',
      version: '1.0.0',
      deployment: 'qa',
      caller: i % 7 ? 'key:a' : 'key:rare',
      error: i % 5 ? '' : 'ABORTED',
    },
    ...{
      failed: i % 5 === 0,
      requestId: null,
      requestDigest: 'd',
      entry: JSON.stringify({ id, output: '答' }),
      createdMs: i,
      id,
    },
  }));
  const scores = rows.flatMap(({ id, name }) =>
    ['key:a', 'key:b'].map((author) => ({
      ...{
        invocationId: id,
        name: 'grade',
        author,
        tenant,
        prompt: name,
        value: below(10),
        reason: '',
        createdMs: 0,
      },
    })),
  );
  await database.transaction(async (em) => {
    for (let i = 0; i < rows.length; i += 500) await em.insertMany(InvocationSchema, rows.slice(i, i + 500));
    for (let i = 0; i < scores.length; i += 500) await em.insertMany(ScoreSchema, scores.slice(i, i + 500));
  });
  // At 10 values of which one or nearly all are asked for: about 1,200 scores, and about 10,800.
  for (const [minimum, maximum] of [
    [3, 3],
    [1, 9],
  ] as const) {
    const fitting = new Set(
      scores
        .filter(({ value }) => value >= minimum && value <= maximum)
        .map(({ invocationId }) => invocationId),
    );
    for (const filter of [
      { name: 'tell' },
      { caller: 'key:rare' },
      { name: 'ask', caller: 'key:rare' },
      { deployment: 'qa', error: 'ABORTED' },
      {},
    ]) {
      const expected = rows
        .filter(
          (row) =>
            fitting.has(row.id) &&
            Object.entries(filter).every(([key, value]) => row[key as 'name'] === value),
        )
        .map(({ id }) => id)
        .sort()
        .reverse();
      const score = { name: 'grade', minimum, maximum };
      const request = create(ListInvocationsRequestSchema, { ...filter, score });
      const found: string[] = [];
      for (;;) {
        const page = await database.read(async (em) => {
          const rows = await searchInvocations(em, tenant, request, found.at(-1), 333);
          return invocationReplies(em, rows);
        });
        found.push(...page.map(({ id }) => id));
        // Whatever way a row was found, it is a whole one.
        const whole = page.filter(
          ({ output, scores }) => output !== '' && scores.every(({ author }) => author !== ''),
        );
        expect(whole).toHaveLength(page.length);
        if (page.length < 333) break;
      }
      expect(found).toEqual(expected);
    }
    const request = create(ListInvocationsRequestSchema, { score: { name: 'grade' } });
    expect(await database.read((em) => searchInvocations(em, randomUUID(), request, undefined, 10))).toEqual(
      [],
    );
  }
});
