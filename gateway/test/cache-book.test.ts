import { join } from 'node:path';
import { create, toJsonString } from '@bufbuild/protobuf';
import { Database } from '@landfall/common/db/database.ts';
import { testDatabase } from '@landfall/common/db/test-database.ts';
import { createLogger } from '@landfall/common/log/logger.ts';
import { CachePolicySchema as PolicyMessage } from '@landfall/proto/landfall/gateway/v1/cache_pb.js';
import { GenerateResponseSchema } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import { expect, test } from 'vitest';
import { CacheBook } from '../src/cache/cache-book.ts';
import { invalidate } from '../src/cache/changes.ts';
import { CachePolicySchema } from '../src/db/cache-entities.ts';
import { gatewayEntities, gatewayMigrations } from '../src/db/entities.ts';

const tenant = 'acme';

test('a new answer stays while an old one to the same request turns out void', async (t) => {
  await using place = await testDatabase();
  if (!place) return t.skip();
  const { url, folder } = place;
  const file = join(folder, 'gateway.sqlite');
  const tables = { entities: gatewayEntities, migrations: gatewayMigrations };
  await using database = await Database.open({ service: 'gateway', url, file, ...tables });
  const policy = toJsonString(PolicyMessage, create(PolicyMessage, { enabled: true }));
  await database.transaction((em) => em.insert(CachePolicySchema, { tenant, body: policy, revision: 1 }));

  const [voided, written, told] = [0, 1, 2].map(() => Promise.withResolvers<void>()) as [
    PromiseWithResolvers<void>,
    PromiseWithResolvers<void>,
    PromiseWithResolvers<void>,
  ];
  const slow: Database = Object.create(database, {
    transaction: {
      value: async (work: Parameters<Database['transaction']>[0]) => {
        await voided.promise;
        const result = await database.transaction(work);
        written.resolve();
        await told.promise;
        return result;
      },
    },
  });
  const logger = createLogger('test', 'silent');
  await using book = new CacheBook({
    ...{ database: slow, logger, meshKey: Buffer.alloc(32, 1), memoryBytes: 1e6 },
  });
  const cache = await book.of(tenant);
  const keep = (id: string) =>
    book.keep(cache, {
      ...{ key: 'k', context: '', question: undefined, asked: 'qa', model: 'models:/qa/1.0.0' },
      ...{ ttlMs: 60_000, since: cache.revision },
      answer: {
        ...{ id, createdMs: Date.now(), bytes: 0 },
        parts: [create(GenerateResponseSchema, { delta: id })],
      },
    });
  keep('old');
  await database.transaction((em) => invalidate(em, { tenant, cause: 'cache_policy.changed', model: '' }));
  await book.refresh(tenant);
  expect(cache.get('k', Date.now())).toBe(undefined);
  voided.resolve();
  const writing = book.sync();
  await written.promise;
  keep('new');
  told.resolve();
  await writing;
  const kept = cache.get('k', Date.now())!;
  expect(kept?.id).toBe('new');
  expect((await book.read(cache, kept))!.parts.map(({ delta }) => delta)).toEqual(['new']);
});
