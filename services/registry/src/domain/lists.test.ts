import { join } from 'node:path';
import { Database } from '@landfall/common/db/database.ts';
import { type TestDatabase, testDatabase } from '@landfall/common/db/test-database.ts';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { registryEntities } from '../db/entities.ts';
import { registryMigrations } from '../db/migrations.ts';
import { createDraft, createModel, putFiles } from './drafts.ts';
import { listVersions } from './lists.ts';

let place: TestDatabase | undefined;
let database: Database;

beforeAll(async () => {
  place = await testDatabase();
  if (!place) return;
  database = await Database.open({
    service: 'registry',
    url: place.url,
    file: join(place.folder, 'registry.sqlite'),
    entities: registryEntities,
    migrations: registryMigrations,
  });
});
afterAll(async () => {
  await database?.[Symbol.asyncDispose]();
  await place?.[Symbol.asyncDispose]();
});

test('a page of versions ends before it tells of more than 20,000 files', async (context) => {
  if (!place) return context.skip();
  const digest = `sha256:${'0'.repeat(64)}`;
  await database.transaction(async (em) => {
    const model = await createModel(em, 'acme', {
      name: 'many',
      kind: 'dataset',
      description: '',
      labels: {},
    });
    for (const count of [10_000, 10_000, 10_000, 1, 0]) {
      const init = {
        version: '',
        description: '',
        labels: {},
        license: '',
        tags: [],
        lineage: undefined,
        createdBy: 'key:test',
      };
      const draft = await createDraft(em, model, init);
      const files = Array.from({ length: count }, (_, index) => ({
        path: `${index}.json`,
        digest,
        sizeBytes: 1,
      }));
      await putFiles(em, draft.id, files);
    }
  });
  const filter = { name: 'many', state: undefined, kind: undefined, base: '', show: 'live' as const };
  const pages: string[][] = [];
  for (let pageToken = ''; pages.length < 10; ) {
    const page = await database.read((em) => listVersions(em, 'acme', filter, { pageSize: 0, pageToken }));
    pages.push(page.rows.map(({ version }) => version));
    pageToken = page.nextPageToken;
    if (pageToken === '') break;
  }
  expect(pages).toEqual([
    ['1.4.0', '1.3.0', '1.2.0'],
    ['1.1.0', '1.0.0'],
  ]);
});
