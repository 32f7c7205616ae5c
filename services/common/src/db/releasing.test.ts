import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Database } from './database.ts';
import { type TestDatabase, testDatabase } from './test-database.ts';

let place: TestDatabase | undefined;
let database: Database;

beforeAll(async () => {
  place = await testDatabase();
  if (!place) return;
  const file = join(place.folder, 'releasing.sqlite');
  database = await Database.open({
    service: 'releasing',
    url: place.url,
    file,
    entities: [],
    migrations: [],
  });
});
afterAll(async () => {
  await database?.[Symbol.asyncDispose]();
  await place?.[Symbol.asyncDispose]();
});

test('transactions that the database ended by itself cost no connection', async (context) => {
  if (!place) return context.skip();
  // More than the pool has.
  for (let i = 0; i < 10; i++) {
    const ended = database.transaction(async (em) => {
      if (place!.kind === 'postgres') await em.execute('select pg_terminate_backend(pg_backend_pid())');
      await em.execute('rollback');
      throw new Error('the disk was full, say');
    });
    if (place.kind === 'postgres') await expect(ended).rejects.toMatchObject({ code: status.UNAVAILABLE });
    else await expect(ended).rejects.toThrow('the disk was full, say');
  }
  expect(await database.read((em) => em.execute('select 1 as one'))).toEqual([{ one: 1 }]);
  await database.transaction((em) => em.execute('select 1'));
});
